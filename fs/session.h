// A FUSE mount of one volume: the kernel's requests in, operations on the volume out.
#pragma once

#include <sys/mount.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace rw {

class Volume;

inline constexpr unsigned long kDefaultMountFlags = MS_NOSUID | MS_NODEV;

struct SessionOptions {
  std::string mountpoint;  // an existing directory, absolute
  std::string source;      // what /proc/mounts shows as the device, e.g. "rewind:pgdata"
  // Opens the volume as of a time in text (see metadata/time_text.h), for `.rewind/<time>`; throws
  // Refused.
  std::function<std::shared_ptr<Volume>(std::string_view time)> open_at;
  // For an operation that met a full disk; true if it is worth trying again (Store::MakeRoom).
  std::function<bool()> make_room = nullptr;
  // What the mount withholds, as MS_… of mount(2); access times never change and fixed views are
  // read-only, whatever this says.
  unsigned long flags = kDefaultMountFlags;
};

// Thread safety: all methods may be called from any thread. The session serves requests on threads
// of its own until it is unmounted.
class Session {
 public:
  // Mounts; the mount answers when this returns. Throws Refused with the errno of what failed
  // (ENODEV: no /dev/fuse; EPERM: no CAP_SYS_ADMIN).
  static std::unique_ptr<Session> Mount(std::shared_ptr<Volume> volume, SessionOptions options);

  // Unmounts, waits for requests under way, and lets the volume go.
  virtual ~Session() = default;

  // False once the kernel has ended the connection (somebody unmounted it from outside).
  virtual bool alive() const = 0;
};

}  // namespace rw
