// Reading, and what heads and fixed views share.
#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "fs/view_volume.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr int kMaxReadTries = 4;
constexpr size_t kCachedInodes = 1 << 15;
constexpr size_t kCachedExtents = 1 << 19;  // over all cached chunks
// Fixed views come by the dozen, and their reads stay in the kernel's cache.
constexpr size_t kCachedInodesOfFixedView = 1 << 12;
constexpr size_t kCachedExtentsOfFixedView = 1 << 16;

}  // namespace

ViewVolume::ViewVolume(const StoreContext& context, std::shared_ptr<Timeline> timeline)
    : context_(context),
      timeline_(std::move(timeline)),
      view_(&timeline_->view()),
      inodes_(kCachedInodes),
      chunks_(kCachedExtents) {
  LoadOrphans();
}

ViewVolume::ViewVolume(const StoreContext& context, View view, Totals totals)
    : context_(context),
      fixed_view_(std::move(view)),
      view_(&*fixed_view_),
      fixed_totals_(totals),
      inodes_(kCachedInodesOfFixedView),
      chunks_(kCachedExtentsOfFixedView) {}

Instant ViewVolume::last_instant() const {
  return timeline_ != nullptr ? timeline_->last_instant() : view_->at();
}

Totals ViewVolume::totals() {
  if (timeline_ == nullptr) return fixed_totals_;
  const std::lock_guard lock(mutex());
  return timeline_->totals();
}

std::optional<Inode> ViewVolume::LoadInode(Ino ino) {
  if (const auto* cached = inodes_.Find(ino)) return *cached;
  std::optional<Inode> inode = view_->FindInode(ino);
  CacheInode(ino, inode);
  return inode;
}

void ViewVolume::CacheInode(Ino ino, const std::optional<Inode>& inode) {
  inodes_.Put(ino, inode, 1);
}

Inode ViewVolume::NeedInode(Ino ino) {
  std::optional<Inode> inode = LoadInode(ino);
  if (!inode) throw Refused(ENOENT, "no such inode");
  return *std::move(inode);
}

Inode ViewVolume::NeedDirectory(Ino ino) {
  Inode inode = NeedInode(ino);
  if (!inode.is_dir()) throw Refused(ENOTDIR, "not a directory");
  return inode;
}

Inode ViewVolume::NeedRegular(Ino ino) {
  Inode inode = NeedInode(ino);
  if (inode.is_dir()) throw Refused(EISDIR, "is a directory");
  if (!inode.is_regular()) throw Refused(EINVAL, "not a regular file");
  return inode;
}

std::optional<ViewName> ViewVolume::LoadName(Ino parent, std::string_view name) {
  return timeline_ != nullptr ? timeline_->names().Find(parent, name)
                              : view_->FindName(parent, name);
}

ViewName ViewVolume::NeedName(Ino parent, std::string_view name) {
  if (name.size() > kMaxNameBytes) throw Refused(ENAMETOOLONG, "a name has at most 255 bytes");
  std::optional<ViewName> found = LoadName(parent, name);
  if (!found) throw Refused(ENOENT, "no such name");
  return *std::move(found);
}

ChunkMap& ViewVolume::LoadChunk(Ino ino, uint64_t chunk, const Inode& inode) {
  if (ChunkMap* cached = chunks_.Find({ino, chunk})) return *cached;
  CacheChunk(ino, chunk, view_->FindChunk(ino, chunk, inode.cuts));
  return *chunks_.Find({ino, chunk});
}

void ViewVolume::CacheChunk(Ino ino, uint64_t chunk, ChunkMap map) {
  const size_t cost = map.extents().size() + 8;
  chunks_.Put({ino, chunk}, std::move(map), cost);
}

std::optional<Inode> ViewVolume::FindInode(Ino ino) {
  const std::lock_guard lock(mutex());
  return LoadInode(ino);
}

std::optional<InodeAttr> ViewVolume::Lookup(Ino parent, std::string_view name) {
  if (name.size() > kMaxNameBytes) throw Refused(ENAMETOOLONG, "a name has at most 255 bytes");
  const std::lock_guard lock(mutex());
  NeedDirectory(parent);
  const auto found = LoadName(parent, name);
  if (!found) return std::nullopt;
  auto inode = LoadInode(found->ino);
  if (!inode) throw Refused(EIO, "damaged: a name leads to no inode");
  return InodeAttr{found->ino, *std::move(inode)};
}

std::vector<DirEntry> ViewVolume::ReadDir(Ino dir, uint64_t after, size_t limit) {
  after = std::max(after, kFirstCookie);
  std::unique_lock lock(mutex());
  NeedDirectory(dir);
  if (timeline_ != nullptr && after == kFirstCookie) {
    // In slices, so that other operations get their turn.
    for (uint64_t resume = 0; timeline_->names().FillSome(dir, &resume);) {
      lock.unlock();
      lock.lock();
    }
  }
  std::vector<ViewName> names;
  if (timeline_ != nullptr) {
    names = timeline_->names().List(dir, after, limit);
  } else {
    lock.unlock();
    names = view_->ListNames(dir, after, limit);
  }
  std::vector<DirEntry> entries;
  entries.reserve(names.size());
  for (ViewName& name : names)
    entries.push_back({std::move(name.name), name.ino, name.type, name.cookie});
  return entries;
}

ViewVolume::Plan ViewVolume::PlanRead(Ino ino, uint64_t offset, uint64_t length) {
  for (bool hold = timeline_ == nullptr;; hold = true) {
    std::unique_lock lock(mutex());
    const Inode inode = NeedRegular(ino);
    Plan plan;
    plan.size = inode.size;
    if (offset >= inode.size) return plan;
    const uint64_t end = offset + std::min(length, inode.size - offset);
    bool raced = false;
    for (uint64_t chunk = offset / kChunkBytes; chunk * kChunkBytes < end; ++chunk) {
      if (!hold && chunks_.Find({ino, chunk}) == nullptr) {
        // What is not in memory may have to come from the disk: let others go on meanwhile.
        const uint64_t changes = changes_;
        lock.unlock();
        ChunkMap map = view_->FindChunk(ino, chunk, inode.cuts);
        lock.lock();
        raced = changes != changes_;
        if (raced) break;
        CacheChunk(ino, chunk, std::move(map));
      }
      const uint64_t start = chunk * kChunkBytes;
      for (const Extent& extent : LoadChunk(ino, chunk, inode).extents()) {
        const uint64_t from = std::max(start + extent.offset, offset);
        const uint64_t to = std::min(start + extent.end(), end);
        if (from >= to) continue;
        plan.extents.emplace_back(
            extent.Slice(static_cast<uint32_t>(from - start), static_cast<uint32_t>(to - start)),
            from);
      }
    }
    if (!raced) return plan;
  }
}

size_t ViewVolume::Read(Ino ino, uint64_t offset, std::span<char> out) {
  for (int tries = 1;; ++tries) {
    const Plan plan = PlanRead(ino, offset, out.size());
    if (offset >= plan.size) return 0;
    const size_t count = std::min<uint64_t>(out.size(), plan.size - offset);
    try {
      ReadPlanned(plan, offset, out.first(count));
      return count;
    } catch (const SegmentGone&) {
      // Between planning and reading, the data were moved and their old place was freed.
      if (tries == kMaxReadTries) throw;
      for (uint64_t chunk = offset / kChunkBytes; chunk * kChunkBytes < offset + count; ++chunk)
        ForgetChunk(ino, chunk);
    }
  }
}

void ViewVolume::WaitForOperations() {
  const auto lock = LockForUpkeep();
  if (timeline_ != nullptr && timeline_->ApplyPending()) DropCaches();
}

std::unique_lock<std::mutex> ViewVolume::LockForUpkeep() {
  return timeline_ != nullptr ? timeline_->LockForUpkeep() : std::unique_lock(own_mutex_);
}

void ViewVolume::ForgetChunk(Ino ino, uint64_t chunk) {
  const auto lock = LockForUpkeep();
  ++changes_;  // also for those who are looking it up just now
  chunks_.Erase({ino, chunk});
}

void ViewVolume::ReadPlanned(const Plan& plan, uint64_t offset, std::span<char> out) {
  uint64_t done = 0;
  for (const auto& [extent, from] : plan.extents) {
    const uint64_t at = from - offset;
    std::fill(out.begin() + static_cast<ptrdiff_t>(done), out.begin() + static_cast<ptrdiff_t>(at),
              '\0');
    context_.segments->Read(extent, 0, out.subspan(at, extent.length));
    done = at + extent.length;
  }
  std::fill(out.begin() + static_cast<ptrdiff_t>(done), out.end(), '\0');
}

uint64_t ViewVolume::Seek(Ino ino, uint64_t offset, bool data) {
  const std::lock_guard lock(mutex());
  const Inode inode = NeedRegular(ino);
  if (offset >= inode.size) throw Refused(ENXIO, "beyond the end of the file");
  uint64_t at = offset;  // for a hole: everything in [offset, at) is data
  for (uint64_t chunk = offset / kChunkBytes;; ++chunk) {
    const auto next = view_->NextChunk(ino, chunk);
    if (!next || *next * kChunkBytes >= inode.size) break;
    if (!data && *next * kChunkBytes > at) return at;
    chunk = *next;
    const uint64_t start = chunk * kChunkBytes;
    for (const Extent& extent : LoadChunk(ino, chunk, inode).extents()) {
      const uint64_t from = start + extent.offset;
      const uint64_t to = start + extent.end();
      if (to <= offset) continue;
      if (data) return std::max(from, offset);
      if (from > at) return at;
      at = to;
    }
    if (!data && at < std::min(start + kChunkBytes, inode.size)) return at;
  }
  if (data) throw Refused(ENXIO, "no data beyond the offset");
  return std::min(std::max(at, offset), inode.size);
}

std::optional<std::string> ViewVolume::GetXattr(Ino ino, std::string_view name) {
  CheckXattrName(name);
  const std::lock_guard lock(mutex());
  NeedInode(ino);
  return view_->FindXattr(ino, name);
}

std::vector<std::string> ViewVolume::ListXattrs(Ino ino) {
  const std::lock_guard lock(mutex());
  NeedInode(ino);
  return view_->ListXattrs(ino);
}

VolumeUsage ViewVolume::Usage() {
  const Totals now = totals();
  VolumeUsage usage;
  usage.live_bytes = now.bytes;
  usage.live_inodes = now.inodes;
  usage.limit_bytes = limit_bytes_;
  struct statvfs disk;
  if (statvfs(context_.root.c_str(), &disk) != 0)
    throw Refused(errno, "cannot stat the data root's disk");
  usage.disk_bytes = uint64_t{disk.f_blocks} * disk.f_frsize;
  usage.disk_free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  return usage;
}

uint64_t ViewVolume::AllocatedFrom(Ino ino, const Inode& inode, uint64_t offset) {
  uint64_t sum = 0;
  for (uint64_t chunk = offset / kChunkBytes;; ++chunk) {
    const auto next = view_->NextChunk(ino, chunk);
    if (!next || *next * kChunkBytes >= inode.size) return sum;
    chunk = *next;
    for (const Extent& extent : LoadChunk(ino, chunk, inode).extents()) {
      const uint64_t from = std::max(chunk * kChunkBytes + extent.offset, offset);
      const uint64_t to = chunk * kChunkBytes + extent.end();
      if (to > from) sum += to - from;
    }
  }
}

}  // namespace rw
