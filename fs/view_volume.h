// The implementation of Volume, for heads and fixed views alike. Split by concern: volume_read.cc,
// volume_names.cc, volume_contents.cc, volume_attributes.cc, volume_journalled.cc,
// volume_restore.cc; changes go through a Transaction (fs/transaction.h).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "fs/lru_cache.h"
#include "fs/timeline.h"
#include "fs/volume.h"

namespace rw {

class Acl;
class Transaction;

class ViewVolume : public Volume {
 public:
  // The head of `timeline`.
  ViewVolume(const StoreContext& context, std::shared_ptr<Timeline> timeline);
  // A fixed view. `totals` are as of its instant.
  ViewVolume(const StoreContext& context, View view, Totals totals);

  bool writable() const override { return timeline_ != nullptr; }
  Instant fixed_at() const override { return view_->at(); }
  Instant last_instant() const override;

  std::optional<Inode> FindInode(Ino ino) override;
  std::optional<InodeAttr> Lookup(Ino parent, std::string_view name) override;
  std::vector<DirEntry> ReadDir(Ino dir, uint64_t after, size_t limit) override;
  size_t Read(Ino ino, uint64_t offset, std::span<char> out) override;
  uint64_t Seek(Ino ino, uint64_t offset, bool data) override;
  std::optional<std::string> GetXattr(Ino ino, std::string_view name) override;
  std::vector<std::string> ListXattrs(Ino ino) override;
  VolumeUsage Usage() override;

  InodeAttr Create(const Caller& caller, Ino parent, std::string_view name, uint32_t mode,
                   uint32_t rdev, std::string_view target) override;
  InodeAttr CreateUnnamed(const Caller& caller, Ino parent, uint32_t mode) override;
  void Unlink(const Caller& caller, Ino parent, std::string_view name) override;
  void Rmdir(const Caller& caller, Ino parent, std::string_view name) override;
  void Rename(const Caller& caller, Ino parent, std::string_view name, Ino new_parent,
              std::string_view new_name, unsigned flags) override;
  InodeAttr Link(const Caller& caller, Ino ino, Ino new_parent, std::string_view new_name) override;

  Inode SetAttr(const Caller& caller, Ino ino, const AttrChange& change) override;
  void Write(const Caller& caller, Ino ino, uint64_t offset, std::span<const char> data,
             bool kill_suid_sgid) override;
  void Fallocate(const Caller& caller, Ino ino, int mode, uint64_t offset,
                 uint64_t length) override;
  uint64_t CopyRange(const Caller& caller, Ino from, uint64_t from_offset, Ino to,
                     uint64_t to_offset, uint64_t length) override;
  void SetXattr(const Caller& caller, Ino ino, std::string_view name, std::string_view value,
                int flags, bool kill_sgid) override;
  void RemoveXattr(const Caller& caller, Ino ino, std::string_view name) override;

  void Forget(Ino ino) override;
  void ForgetAll() override;
  std::vector<Ino> Unlinked() override;
  bool EmptyUnlinked(const AskKernel& ask, uint64_t max_operations) override;
  std::vector<RestoreNote::Place> LastRestored() override;
  void Sync() override;
  void NoteHolder(std::string_view holder, bool mounted) override;
  JournalPosition JournalEnd() const override;
  JournalledOperations JournalledSince(JournalPosition from) override;

  // Makes the root directory: the first operation of a timeline without a parent.
  void MakeRoot(uint32_t mode, uint32_t uid, uint32_t gid);
  Totals totals();
  TimelineId timeline() const { return timeline_->record().id; }
  const View& view() const { return *view_; }
  // Who has called this knows that what was under way before has been committed.
  void WaitForOperations();
  // What is known of where a chunk lies is looked up again.
  void ForgetChunk(Ino ino, uint64_t chunk);
  // From now on, what would make the contents grow beyond `bytes` is refused with ENOSPC.
  void LimitBytes(uint64_t bytes) { limit_bytes_ = bytes; }

  // --- volume_restore.cc: of a head; what is restored is made where nobody sees it, and then takes
  // its place in one operation (fs/README.md, "Restoring") ---

  // One inode that is to be made, or another name of one that was.
  struct Prepared {
    Ino parent = 0;  // that was prepared
    std::string name;
    Inode inode;  // as it is to be: mode, owner, times, size, target, what it has of lists
    std::vector<std::pair<std::string, std::string>> xattrs;
    Ino link_to = 0;  // a prepared inode, that gets another name
    // Of a file: the inode of `source` whose chunks [0, chunks) it shares.
    Ino source = 0;
    uint64_t chunks = 0;
  };
  // What chunks are shared from.
  struct SharedSource {
    View view;
    std::set<TimelineId> timelines;  // whose segments last as long as this timeline
  };
  // A directory that nobody can reach, for what is prepared. It ends with what is in it when the
  // holder of this goes, or the next time that the volume is opened or closed.
  Ino BeginPreparing(const Caller& caller);
  void EndPreparing(Ino directory);
  // Makes all of them in one operation; returns their numbers. Chunks whose data lie in the
  // segments of others are left out and told.
  struct Unshared {
    size_t index = 0;  // in what was given
    uint64_t chunk = 0;
  };
  std::vector<Ino> Prepare(const Caller& caller, const std::vector<Prepared>& nodes,
                           const SharedSource& source, std::vector<Unshared>* unshared);
  // The same for chunks [from, to) of a file that was prepared.
  void PrepareChunks(const Caller& caller, Ino ino, uint64_t from, uint64_t to,
                     const SharedSource& source, Ino source_ino, std::vector<uint64_t>* unshared);
  // Writes without a trace in the times. The record says whose data it has, `source`, so that who
  // forgets those finds it.
  void PrepareData(const Caller& caller, Ino ino, uint64_t offset, std::span<const char> data,
                   const ChunkVersionKey& source);

  // One path that is to lead to something else.
  struct Placement {
    std::vector<std::string> path;  // from the root; its directory must be there
    std::string prepared;           // name in the prepared directory; empty: nothing is to be there
    Ino expected = 0;               // what has to be there now; 0: nothing
  };
  struct Placed {
    Instant at;
    RestoreNote note;
  };
  // All of them in one operation, with which `directory` ends. What was there is unlinked, with
  // what is in it: EmptyUnlinked. Throws Refused(EAGAIN) if something else is there than expected.
  Placed Place(const Caller& caller, Ino directory, const std::vector<Placement>& placements,
               Instant source, std::optional<Instant> undoes);

 private:
  friend class Transaction;
  using ChunkKey = std::pair<Ino, uint64_t>;

  std::mutex& mutex() { return timeline_ != nullptr ? timeline_->mutex() : own_mutex_; }

  std::unique_lock<std::mutex> LockForUpkeep();

  // All of these need the mutex.
  std::optional<Inode> LoadInode(Ino ino);
  Inode NeedInode(Ino ino);      // ENOENT
  Inode NeedDirectory(Ino ino);  // ENOENT, ENOTDIR
  Inode NeedRegular(Ino ino);    // ENOENT, EISDIR, EINVAL
  std::optional<ViewName> LoadName(Ino parent, std::string_view name);
  ViewName NeedName(Ino parent, std::string_view name);              // ENOENT
  ChunkMap& LoadChunk(Ino ino, uint64_t chunk, const Inode& inode);  // valid until the next load
  void CacheInode(Ino ino, const std::optional<Inode>& inode);
  void CacheChunk(Ino ino, uint64_t chunk, ChunkMap map);
  void LoadOrphans();
  void DropCaches();
  uint64_t AllocatedFrom(Ino ino, const Inode& inode, uint64_t offset);
  bool IsAncestor(Ino ancestor, Ino dir);  // or the same

  // Reads what the caller needs for a range of a file, with as little as can be under the mutex.
  struct Plan {
    uint64_t size = 0;                                 // of the file
    std::vector<std::pair<Extent, uint64_t>> extents;  // and where each begins in the file
  };
  Plan PlanRead(Ino ino, uint64_t offset, uint64_t length);
  void ReadPlanned(const Plan& plan, uint64_t offset, std::span<char> out);

  // A new inode in `dir`, with what it inherits from it.
  Inode& StageNewIn(Transaction* change, const Caller& caller, Ino parent, Ino ino, uint32_t mode);
  static void CheckXattrName(std::string_view name);
  void SetAcl(Transaction* change, Ino ino, std::string_view name, std::string_view value,
              bool kill_sgid);
  Acl NeedAcl(Ino ino, std::string_view name);

  void ResizeFile(Transaction* change, Ino ino, uint64_t size);
  void AddCut(Transaction* change, Ino ino, uint64_t size);
  void PutExtents(Transaction* change, Ino ino, uint64_t chunk, const std::vector<Extent>& extents);
  void PunchRange(Transaction* change, Ino ino, uint64_t from, uint64_t to);
  void ShareChunks(Transaction* change, Ino ino, uint64_t from, uint64_t to,
                   const SharedSource& source, Ino source_ino, std::vector<uint64_t>* unshared);
  // The directory of a path; 0 if it is not there.
  Ino WalkToParent(const std::vector<std::string>& path);
  void PutInPlace(Transaction* change, Ino directory, const Placement& placement,
                  RestoreNote* note);
  struct Emptied {
    std::vector<Ino> directories, nameless;
    bool empty = false;
  };
  std::vector<std::pair<Ino, uint64_t>> TakeFullUnlinked();
  Emptied EmptySome(Ino directory, uint64_t* after, bool end);

  StoreContext context_;
  std::shared_ptr<Timeline> timeline_;  // of a head
  std::optional<View> fixed_view_;      // of a fixed view
  const View* view_;
  Totals fixed_totals_;
  std::mutex own_mutex_;  // of a fixed view; guards the caches, as the timeline's does for a head

  std::atomic<uint64_t> limit_bytes_{UINT64_MAX};
  uint64_t changes_ =
      0;  // commits, so that what was loaded without the mutex is known to be still true
  std::unordered_set<Ino> orphans_;  // unlinked and not yet forgotten
  std::unordered_set<Ino> staging_;  // of these, what is being prepared
  bool full_unlinked_ = true;        // directories among them may have entries
  LruCache<Ino, std::optional<Inode>> inodes_;
  LruCache<ChunkKey, ChunkMap> chunks_;
};

}  // namespace rw
