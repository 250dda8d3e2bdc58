#include "fs/read_ahead.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rw {
namespace {

// A fault in a mapping that was not read before brings as much, too: so not more than pays.
constexpr char kKibibytes[] = "512";

}  // namespace

void ReadAheadMore(const std::string& mountpoint) {
  struct statx status {};
  // No request: the device's number is all that is wanted.
  if (statx(AT_FDCWD, mountpoint.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &status) != 0)
    return;
  const std::string path = "/sys/class/bdi/" + std::to_string(status.stx_dev_major) + ":" +
                           std::to_string(status.stx_dev_minor) + "/read_ahead_kb";
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, kKibibytes, std::strlen(kKibibytes)) < 0)
    spdlog::debug("{} stays as it is: {}", path, std::strerror(errno));
  if (fd >= 0) close(fd);
}

}  // namespace rw
