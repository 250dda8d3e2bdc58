#include "plugin/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "metadata/refused.h"
#include "plugin/trusted_directory.h"

namespace rw {
namespace {

// The engine asks about all volumes at once when it starts, and does not try again when the queue
// is full.
constexpr int kBacklog = 1024;

// False if the path is too long for one.
bool MakeAddress(const std::filesystem::path& path, sockaddr_un& address) {
  std::string text = path.string();
  address = {};
  address.sun_family = AF_UNIX;
  if (text.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, text.data(), text.size());
  return true;
}

[[noreturn]] void Refuse(int error, const std::filesystem::path& path, const std::string& why) {
  throw Refused(error, "cannot listen on " + path.string() + ": " + why);
}

void RemoveStale(const std::filesystem::path& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode)) Refuse(EEXIST, path, "it exists and is not a socket");
  int fd = ConnectTo(path);
  if (fd >= 0) {
    close(fd);
    Refuse(EADDRINUSE, path,
           "another daemon answers there; stop it first or give this one another --socket");
  }
  unlink(path.c_str());
}

// Held by who makes a socket in the directory, for that moment: what two look at as stale, one may
// have made anew before the other removes it.
class Turn {
 public:
  explicit Turn(const std::filesystem::path& directory)
      : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0 || flock(fd_, LOCK_EX) != 0) {
      const int error = errno;
      if (fd_ >= 0) close(fd_);
      Refuse(error, directory, std::strerror(error));
    }
  }
  ~Turn() { close(fd_); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  int fd_;
};

}  // namespace

int ListenOn(const std::filesystem::path& path) {
  sockaddr_un address;
  if (!MakeAddress(path, address)) {
    Refuse(ENAMETOOLONG, path, "a socket's path has at most 107 bytes");
  }
  const std::filesystem::path directory = std::filesystem::absolute(path).parent_path();
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  // Who can rename in it could listen in the daemon's place.
  CheckTrustedDirectory(directory, "the socket");
  const Turn turn(directory);
  RemoveStale(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Refuse(errno, path, std::strerror(errno));
  // bind(2) gives the file the socket's own mode, so there is no moment at which others could
  // connect.
  fchmod(fd, 0600);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd, kBacklog) != 0) {
    int error = errno;
    close(fd);
    Refuse(error, path, std::strerror(error));
  }
  return fd;
}

int ConnectTo(const std::filesystem::path& path, int timeout_seconds) {
  sockaddr_un address;
  if (!MakeAddress(path, address)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const timeval limit{timeout_seconds, 0};
  if (timeout_seconds > 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

}  // namespace rw
