// A file that is there when it is whole, or not at all.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace rw {

// Not thread-safe. Nothing is left of it if it was not finished. Throws Refused with the errno of
// the call that failed.
class OutputFile {
 public:
  // Devices, pipes and sockets are written to directly.
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Write(std::string_view bytes);
  // Takes the place of what has the name.
  void Finish();

 private:
  [[noreturn]] void Refuse(const char* what) const;

  const std::filesystem::path path_;
  std::string temporary_;  // empty: it has no name yet, or needs none
  bool in_place_ = false;
  int fd_ = -1;
};

}  // namespace rw
