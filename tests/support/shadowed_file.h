// A file beside a copy of it in memory. Each operation is done to both, in one of the many ways
// that a program has; what is read must be what the copy holds. The copy is a string and nothing
// else: it shares no code with the product, nor with the reference model.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace rw::testing {

// All operations return what is wrong, or an empty string. Not thread safe.
class ShadowedFile {
 public:
  enum class Way { kPlain, kDirect, kMapping, kFreshMapping };

  // The file never grows beyond `max_bytes`, which the caller sees to.
  explicit ShadowedFile(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  ~ShadowedFile() { Close(); }
  ShadowedFile(const ShadowedFile&) = delete;
  ShadowedFile& operator=(const ShadowedFile&) = delete;

  // Opens `path`, made if it is not there, which must hold what the copy holds.
  std::string Open(const std::string& path);
  void Close();

  uint64_t size() const { return shadow_.size(); }
  const std::string& shadow() const { return shadow_; }

  // Mappings reach only what is below the size, and O_DIRECT only multiples of 512.
  std::string Read(Way way, uint64_t offset, uint64_t length);
  std::string Write(Way way, uint64_t offset, std::string_view data, bool sync_mapping);
  std::string Append(std::string_view data);
  std::string Truncate(uint64_t size, bool by_path);
  // Modes that are to be refused are expected to be.
  std::string Fallocate(int mode, uint64_t offset, uint64_t length);
  std::string CopyFrom(const ShadowedFile& source, uint64_t from, uint64_t to, uint64_t length);
  // Holes are zeros, and are where the copy has zeros.
  std::string CheckHoles();
  // After this nothing of the file is in the kernel only.
  std::string Sync(bool data_only);
  std::string DropCache();
  std::string CheckSize() const;
  std::string CheckWhole() const;

 private:
  std::string Compare(std::string_view actual, uint64_t offset, const char* how) const;
  // Calls `use(pointer to `offset`)` with a mapping of its own that has it.
  template <typename Use>
  std::string WithFreshMapping(uint64_t offset, uint64_t length, const Use& use) const;

  const uint64_t max_bytes_;
  std::string path_;
  std::string shadow_;
  int fd_ = -1, direct_fd_ = -1, append_fd_ = -1;
  char* mapping_ = nullptr;  // of max_bytes_, for as long as the file is open
};

}  // namespace rw::testing
