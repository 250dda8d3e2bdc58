// A FUSE mount of one volume: the kernel's requests in, operations on the volume out.
#pragma once

#include <sys/mount.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/inode.h"
#include "metadata/instant.h"
#include "metadata/mutation.h"

namespace rw {

class Volume;
class VolumeFigures;

inline constexpr unsigned long kDefaultMountFlags = MS_NOSUID | MS_NODEV;

// What a mount goes on with when the daemon that made it has ended: see fs/README.md.
struct SessionRemains {
  int device = -1;   // descriptor of /dev/fuse; the mount lives as long as somebody holds it
  int board = -1;    // descriptor of what the threads were working on (fs/request_board.h)
  std::string init;  // the kernel's first request
  std::map<uint64_t, Instant> views;  // by slot, as on_view has told
};

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
  // Told, from any thread and before the kernel knows, which instant a slot of node ids stands for;
  // nothing: none any more.
  std::function<void(uint64_t slot, std::optional<Instant> at)> on_view = {};
  // What is asked of the mount is counted there; may be null.
  std::shared_ptr<VolumeFigures> figures = nullptr;
  // Of an earlier daemon's mount at `mountpoint`: go on with it instead of mounting. Takes the
  // descriptors, also if it throws.
  std::optional<SessionRemains> inherited = {};
};

// Thread safety: all methods may be called from any thread. The session serves requests on threads
// of its own until it is unmounted.
class Session {
 public:
  // Mounts, or goes on with what is inherited: requests that were sent to the earlier daemon and
  // not answered are done, unless they are in the volume's journal, and answered. The mount answers
  // when this returns. Throws Refused with the errno of what failed
  // (ENODEV: no /dev/fuse; EPERM: no CAP_SYS_ADMIN).
  static std::unique_ptr<Session> Mount(std::shared_ptr<Volume> volume, SessionOptions options);

  // Unmounts, waits for requests under way, and lets the volume go.
  virtual ~Session() = default;

  // False once the kernel has ended the connection (somebody unmounted it from outside).
  virtual bool alive() const = 0;

  // Of this mount, with no views; the descriptors stay the session's. None if there are none.
  virtual std::optional<SessionRemains> remains() const { return std::nullopt; }

  // The kernel forgets what it has cached of the contents of an inode in views of the past.
  virtual void DropPastPages(Ino /*ino*/) {}

  // The daemon itself has made names lead to something else: the kernel looks again.
  virtual void NamesChanged(const std::vector<RestoreNote::Place>& /*places*/) {}
  // Of inodes without a name, those that the kernel does not know end.
  virtual void EndUnlinked(const std::vector<Ino>& /*inos*/) {}

  // To be called now and then. Returns when the volume answers.
  virtual void Probe() {}

  // Unmounts and returns at once: who ends many sessions begins with all of them, since each may
  // have to wait for programs that do not let go.
  virtual void BeginEnd() {}
};

}  // namespace rw
