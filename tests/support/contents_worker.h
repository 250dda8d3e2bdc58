// Random operations on the contents of two files in a directory, each beside a copy in memory.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "tests/support/random.h"
#include "tests/support/shadowed_file.h"

namespace rw::testing {

inline constexpr std::array<const char*, 2> kContentsFiles = {"one", "two"};

// What both files are.
struct ContentsState {
  std::array<uint64_t, 2> sizes{};
  std::array<size_t, 2> hashes{};

  friend bool operator==(const ContentsState&, const ContentsState&) = default;
  std::string Text() const;
  static ContentsState Parse(const std::string& text);
};

size_t HashOfContents(std::string_view bytes);

// Not thread safe. Methods that return a string return what is wrong, or an empty string.
class ContentsWorker {
 public:
  // Files grow to `max_bytes`, rounded up to a page.
  ContentsWorker(uint64_t seed, uint64_t max_bytes);

  // The files of the directory must be what they were when they were closed; at first, absent.
  std::string Open(const std::string& directory);
  void Close();
  // One operation and, with luck, a comparison of everything.
  std::string Step();
  // Afterwards everything that the files are is in the volume.
  std::string Sync();
  ContentsState state() const;
  // The last operations, one per line.
  std::string Log() const;

 private:
  using Way = ShadowedFile::Way;
  // What was drawn, for the log.
  void Note(const std::string& what, uint64_t offset, uint64_t length);
  std::string Operate();
  std::string Read(ShadowedFile& file);
  std::string Write(ShadowedFile& file);
  std::string Truncate(ShadowedFile& file);
  std::string Fallocate(ShadowedFile& file);
  std::string Copy(ShadowedFile& file);
  std::string Reopen();
  Way DrawWay(const ShadowedFile& file, uint64_t* offset, uint64_t* length, bool write);
  uint64_t DrawOffset(uint64_t size);
  uint64_t DrawLength();

  const uint64_t max_bytes_;
  Random random_;
  std::string directory_;
  std::array<std::unique_ptr<ShadowedFile>, 2> files_;
  size_t number_ = 0;  // of the file in the making
  uint64_t steps_ = 0;
  std::deque<std::string> log_;
};

}  // namespace rw::testing
