// One operation in the making: what it will change, staged; then committed as one record at one
// instant, or not at all.
#pragma once

#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/view_volume.h"

namespace rw {

// Holds the volume's mutex from its making to its end. Not thread-safe. Nothing has changed unless
// Commit returns.
class Transaction {
 public:
  // Throws Refused(EROFS) for a fixed view.
  Transaction(ViewVolume* volume, const Caller& caller, RecordType type);

  Instant at() const { return operation_.instant; }
  FileTime now() const { return ToFileTime(operation_.instant); }

  // The inode as the operation leaves it, to be changed. Throws Refused(ENOENT). Valid until
  // Commit.
  Inode& Stage(Ino ino);
  Inode& StageNew(Ino ino, Inode inode);
  void End(Ino ino);  // the inode is no more

  void PutName(Ino parent, std::string_view name, Ino ino, uint32_t type);
  void EndName(Ino parent, std::string_view name);
  // A directory has got or lost a name (`delta` = 1, -1, or 0).
  void TouchDirectory(Ino dir, int delta);
  // The inode had no name and gets one.
  void Adopt(Ino ino);
  // The inode has lost a name: ctime, and nlink.
  void DropLink(Ino ino);

  void PutChunk(Ino ino, uint64_t chunk, ChunkVersion version, ChunkMap map);
  void PutXattr(Ino ino, std::string_view name, std::optional<std::string> value);
  void BringBack() { operation_.body.mutations.bring_back = true; }
  void SetRestored(RestoreNote note) { operation_.body.mutations.restored = std::move(note); }
  void SetRange(uint64_t offset, uint64_t length);
  void SetOwner(const ChunkVersionKey& owner) { operation_.body.mutations.owner = owner; }
  void SetHolder(std::string_view holder) { operation_.body.mutations.holder = holder; }

  // What content changes do to setuid, setgid and capabilities.
  void DropCapability(Ino ino);
  void ClearSuidSgid(Ino ino);
  // Contents changed: mtime and ctime.
  void TouchContents(Ino ino);

  // Called by volume code that changed which bytes a file has, for the caches.
  void CutChunks(Ino ino, uint64_t size);

  void Commit(std::span<const char> data = {});

 private:
  struct Staged {
    std::optional<Inode> before, after;
  };

  ViewVolume* volume_;
  std::unique_lock<std::mutex> lock_;
  Timeline::Operation operation_;
  std::map<Ino, Staged> inodes_;
  std::vector<std::pair<ViewVolume::ChunkKey, ChunkMap>> chunks_;
  std::vector<std::pair<Ino, uint64_t>> cuts_;
};

}  // namespace rw
