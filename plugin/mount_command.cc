#include "plugin/mount_command.h"

#include <sys/mount.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/mount_info.h"
#include "plugin/path_text.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

// Without asking what is mounted there: it may be a dead mount, which answers nothing.
stdfs::path Resolve(const std::string& directory) {
  std::error_code error;
  stdfs::path given = stdfs::absolute(directory, error).lexically_normal();
  if (!given.has_filename()) given = given.parent_path();
  if (stdfs::path all = stdfs::canonical(given, error); !error) return all;
  stdfs::path parent = stdfs::canonical(given.parent_path(), error);
  if (error) throw Refused(error.value(), Quoted(directory) + ": " + error.message());
  return parent / given.filename();
}

std::string IdOf(const stdfs::path& directory) { return "cli:" + TextOfPath(directory.string()); }

bool IsOurs(const std::optional<MountEntry>& entry) { return entry && entry->is_rewind(); }

// Where this mount namespace sees what the daemon mounted: a managed plugin's own paths are not the
// host's.
stdfs::path FindVisible(const nlohmann::json& mounted) {
  std::string mountpoint = mounted.at("Mountpoint").get<std::string>();
  std::string device = mounted.at("Device").get<std::string>();
  std::string visible;
  for (const MountEntry& entry : ReadMounts()) {
    if (!entry.is_rewind() || entry.device != device || entry.root != "/") continue;
    if (visible.empty() || entry.mountpoint == mountpoint) visible = entry.mountpoint;
  }
  if (visible.empty()) {
    throw Refused(ENOENT, "the daemon mounted the volume on " + mountpoint +
                              ", which cannot be seen from here; run this on the host of the "
                              "daemon, as root");
  }
  return visible;
}

// Attributes may come from the kernel's cache; this question always goes to the daemon.
bool IsDead(const stdfs::path& directory) {
  struct statfs status;
  return statfs(directory.c_str(), &status) != 0 && errno == ENOTCONN;
}

}  // namespace

void MountOn(const stdfs::path& socket, const std::string& volume, const std::string& directory,
             const std::optional<std::string>& at) {
  std::error_code error;
  if (!stdfs::is_directory(directory, error)) {
    throw Refused(error ? error.value() : ENOTDIR,
                  "cannot mount on " + Quoted(directory) + ": " +
                      (error ? error.message() : "it is not a directory") +
                      "; it must be an existing directory");
  }
  stdfs::path target = Resolve(directory);
  if (IsOurs(FindMountAt(target))) {
    throw Refused(EBUSY, "cannot mount on " + Quoted(target.string()) +
                             ": a volume is mounted there already; rewind umount it first");
  }
  // If somebody unmounted it without telling the daemon, the daemon still counts it.
  Ask(socket, "Rewind.Release", {{"ID", IdOf(target)}});
  nlohmann::json request = {{"Name", volume}, {"ID", IdOf(target)}};
  if (at) request["At"] = *at;
  nlohmann::json mounted = Ask(socket, "Rewind.Mount", request);
  try {
    stdfs::path visible = FindVisible(mounted);
    if (mount(visible.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      throw Refused(errno,
                    "cannot mount on " + Quoted(target.string()) + ": " + std::strerror(errno));
    }
  } catch (...) {
    Ask(socket, "Rewind.Release", {{"ID", IdOf(target)}});
    throw;
  }
}

void UmountFrom(const stdfs::path& socket, const std::string& directory) {
  stdfs::path target = Resolve(directory);
  std::string id = IdOf(target);
  bool mounted = IsOurs(FindMountAt(target));
  // After its daemon ended, a mount is only to be taken away.
  if (mounted && IsDead(target)) {
    if (umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      throw Refused(errno,
                    "cannot unmount " + Quoted(target.string()) + ": " + std::strerror(errno));
    }
    return;
  }
  bool known = !Ask(socket, "Rewind.FindMount", {{"ID", id}}).at("Name").get<std::string>().empty();
  if (!known) {
    throw Refused(EINVAL, "cannot unmount " + Quoted(target.string()) +
                              ": it is not mounted by rewind mount");
  }
  if (mounted && umount2(target.c_str(), UMOUNT_NOFOLLOW) != 0) {
    std::string why =
        errno == EBUSY ? "it is in use; end what uses it first" : std::strerror(errno);
    throw Refused(errno, "cannot unmount " + Quoted(target.string()) + ": " + why);
  }
  Ask(socket, "Rewind.Release", {{"ID", id}});
}

}  // namespace rw
