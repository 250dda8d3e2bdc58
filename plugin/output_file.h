// A file that is there only once it is whole.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace rw {

class OutputFile {
 public:
  // `path` empty: standard output. Throws Refused if it cannot be written.
  explicit OutputFile(std::filesystem::path path);
  // What was not kept leaves no file.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Throws Refused, as for a full disk or a pipe that nobody reads.
  void Write(std::string_view bytes);
  // Gives it its name, durably. A file of that name is replaced.
  void Keep();

 private:
  [[noreturn]] void Fail(const char* what) const;

  const std::filesystem::path path_;
  std::filesystem::path partial_;  // its name until then; empty: it has none
  int fd_ = -1;
  bool replaces_ = false;  // it is a file of its own, not what is at the path
};

}  // namespace rw
