// Operations on contents.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <map>

#include "fs/transaction.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// One call of CopyRange covers at most this much; the caller asks again.
constexpr uint64_t kMaxCopyBytes = 1 << 30;

// Bytes [from, to) of the data of the record that is being made, as an extent at `offset` of a
// chunk.
Extent DataOfThisRecord(uint64_t from, uint64_t to, uint64_t data_bytes, uint64_t offset) {
  Extent extent;
  extent.offset = static_cast<uint32_t>(offset);
  extent.length = static_cast<uint32_t>(to - from);
  extent.segment = Extent::kThisRecord;
  extent.frame_position = static_cast<uint32_t>(from / kFrameDataBytes * kFrameBytes);
  extent.skip = static_cast<uint16_t>(from % kFrameDataBytes);
  const uint64_t frame_end = (to + kFrameDataBytes - 1) / kFrameDataBytes * kFrameDataBytes;
  extent.tail = static_cast<uint16_t>(std::min(frame_end, data_bytes) - to);
  return extent;
}

Extent Hole(uint64_t from, uint64_t to) {
  Extent extent;
  extent.offset = static_cast<uint32_t>(from);
  extent.length = static_cast<uint32_t>(to - from);
  return extent;
}

// The kernel says whether a write or a truncation is to clear setuid and setgid, and leaves these
// two operations to us without a word. It spares whoever has CAP_FSETID, which we take root to
// have.
void ClearSuidSgidUnlessRoot(Transaction* change, const Caller& caller, Ino ino) {
  if (caller.uid != 0) change->ClearSuidSgid(ino);
}

void CheckRange(uint64_t offset, uint64_t length) {
  if (offset > kMaxFileSize || length > kMaxFileSize - offset)
    throw Refused(EFBIG, "beyond the largest file size");
}

}  // namespace

void ViewVolume::PutExtents(Transaction* change, Ino ino, uint64_t chunk,
                            const std::vector<Extent>& extents) {
  Inode& inode = change->Stage(ino);
  ChunkMap map = LoadChunk(ino, chunk, inode);
  const uint64_t before = map.allocated();
  for (const Extent& extent : extents) map.Put(extent);
  inode.allocated += map.allocated() - before;
  ChunkVersion version;
  const bool whole = extents.size() == 1 && extents.front().length == kChunkBytes;
  version.full = whole || !map.own || map.depth + 1 >= FullVersionInterval(map.extents().size());
  version.depth = version.full ? 0 : map.depth + 1;
  version.extents = version.full ? map.extents() : extents;
  map.depth = version.depth;
  map.own = true;
  change->PutChunk(ino, chunk, std::move(version), std::move(map));
}

void ViewVolume::Write(const Caller& caller, Ino ino, uint64_t offset, std::span<const char> data,
                       bool kill_suid_sgid) {
  if (data.empty()) return;
  Transaction change(this, caller, RecordType::kWrite);
  NeedRegular(ino);
  CheckRange(offset, data.size());
  const uint64_t end = offset + data.size();
  for (uint64_t at = offset; at < end;) {
    const uint64_t chunk = at / kChunkBytes;
    const uint64_t stop = std::min(end, (chunk + 1) * kChunkBytes);
    PutExtents(&change, ino, chunk,
               {DataOfThisRecord(at - offset, stop - offset, data.size(), at % kChunkBytes)});
    at = stop;
  }
  Inode& inode = change.Stage(ino);
  inode.size = std::max(inode.size, end);
  change.TouchContents(ino);
  change.DropCapability(ino);
  if (kill_suid_sgid) change.ClearSuidSgid(ino);
  change.SetRange(offset, data.size());
  change.Commit(data);
}

void ViewVolume::PrepareData(const Caller& caller, Ino ino, uint64_t offset,
                             std::span<const char> data, const ChunkVersionKey& source) {
  Transaction change(this, caller, RecordType::kPrepare);
  change.SetOwner(source);
  for (uint64_t at = offset; at < offset + data.size();) {
    const uint64_t chunk = at / kChunkBytes;
    const uint64_t stop = std::min(offset + data.size(), (chunk + 1) * kChunkBytes);
    PutExtents(&change, ino, chunk,
               {DataOfThisRecord(at - offset, stop - offset, data.size(), at % kChunkBytes)});
    at = stop;
  }
  change.Commit(data);
}

void ViewVolume::PunchRange(Transaction* change, Ino ino, uint64_t from, uint64_t to) {
  for (uint64_t chunk = from / kChunkBytes; chunk * kChunkBytes < to; ++chunk) {
    const auto next = view_->NextChunk(ino, chunk);
    if (!next || *next * kChunkBytes >= to) return;
    chunk = *next;
    const uint64_t start = chunk * kChunkBytes;
    const uint64_t hole_from = std::max(from, start) - start;
    const uint64_t hole_to = std::min(to, start + kChunkBytes) - start;
    const auto& extents = LoadChunk(ino, chunk, change->Stage(ino)).extents();
    const bool any = std::any_of(extents.begin(), extents.end(), [&](const Extent& extent) {
      return extent.offset < hole_to && extent.end() > hole_from;
    });
    if (any) PutExtents(change, ino, chunk, {Hole(hole_from, hole_to)});
  }
}

void ViewVolume::Fallocate(const Caller& caller, Ino ino, int mode, uint64_t offset,
                           uint64_t length) {
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int what = mode & ~FALLOC_FL_KEEP_SIZE;
  if ((what != 0 && what != FALLOC_FL_PUNCH_HOLE && what != FALLOC_FL_ZERO_RANGE) ||
      (what == FALLOC_FL_PUNCH_HOLE && !keep_size)) {
    throw Refused(EOPNOTSUPP, "fallocate modes: 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE");
  }
  if (length == 0) throw Refused(EINVAL, "a length of zero");
  Transaction change(this, caller, RecordType::kFallocate);
  const Inode before = NeedInode(ino);
  if (before.is_dir()) throw Refused(EISDIR, "is a directory");
  if (!before.is_regular()) throw Refused(ENODEV, "not a regular file");
  CheckRange(offset, length);
  const uint64_t end = offset + length;
  if (what != 0 && offset < before.size)
    PunchRange(&change, ino, offset, std::min(end, before.size));
  Inode& inode = change.Stage(ino);
  if (!keep_size) inode.size = std::max(inode.size, end);
  change.TouchContents(ino);
  change.DropCapability(ino);
  ClearSuidSgidUnlessRoot(&change, caller, ino);
  change.SetRange(offset, length);
  change.Commit();
}

uint64_t ViewVolume::CopyRange(const Caller& caller, Ino from, uint64_t from_offset, Ino to,
                               uint64_t to_offset, uint64_t length) {
  Transaction change(this, caller, RecordType::kCopyRange);
  const Inode source = NeedRegular(from);
  NeedRegular(to);
  if (from_offset >= source.size || length == 0) return 0;
  length = std::min({length, source.size - from_offset, kMaxCopyBytes});
  CheckRange(to_offset, length);
  if (from == to && from_offset < to_offset + length && to_offset < from_offset + length) {
    throw Refused(EINVAL, "source and target overlap");
  }
  // Source extents and the holes between them, moved to where they go, by target chunk.
  std::map<uint64_t, std::vector<Extent>> targets;
  const auto place = [&](const Extent& extent, uint64_t file_offset) {
    for (uint32_t at = 0; at < extent.length;) {
      const uint64_t target = file_offset - from_offset + to_offset + at;
      const auto room = static_cast<uint32_t>(
          std::min<uint64_t>(kChunkBytes - target % kChunkBytes, extent.length - at));
      Extent part = extent.Slice(extent.offset + at, extent.offset + at + room);
      part.offset = static_cast<uint32_t>(target % kChunkBytes);
      targets[target / kChunkBytes].push_back(part);
      at += room;
    }
  };
  const uint64_t end = from_offset + length;
  for (uint64_t chunk = from_offset / kChunkBytes; chunk * kChunkBytes < end; ++chunk) {
    const uint64_t start = chunk * kChunkBytes;
    uint64_t at = std::max(start, from_offset);
    const uint64_t stop = std::min(start + kChunkBytes, end);
    for (const Extent& extent : LoadChunk(from, chunk, source).extents()) {
      const uint64_t part_from = std::max(start + extent.offset, at);
      const uint64_t part_to = std::min(start + extent.end(), stop);
      if (part_from >= part_to) continue;
      if (part_from > at) place(Hole(at - start, part_from - start), at);
      place(extent.Slice(static_cast<uint32_t>(part_from - start),
                         static_cast<uint32_t>(part_to - start)),
            part_from);
      at = part_to;
    }
    if (at < stop) place(Hole(at - start, stop - start), at);
  }
  for (const auto& [chunk, extents] : targets) PutExtents(&change, to, chunk, extents);
  Inode& inode = change.Stage(to);
  inode.size = std::max(inode.size, to_offset + length);
  change.TouchContents(to);
  change.DropCapability(to);
  ClearSuidSgidUnlessRoot(&change, caller, to);
  change.SetRange(to_offset, length);
  change.Commit();
  return length;
}

void ViewVolume::ResizeFile(Transaction* change, Ino ino, uint64_t size) {
  CheckRange(size, 0);
  Inode& inode = change->Stage(ino);
  if (size < inode.size) AddCut(change, ino, size);
  inode.size = size;
  change->TouchContents(ino);
  change->DropCapability(ino);
  change->SetRange(size, 0);
}

void ViewVolume::AddCut(Transaction* change, Ino ino, uint64_t size) {
  Inode& inode = change->Stage(ino);
  const Inode before = inode;  // chunks are loaded as they are now, with all the cuts
  if (size == 0) {
    inode.allocated = 0;
  } else if (inode.allocated == inode.size) {
    inode.allocated = size;
  } else {
    inode.allocated -= AllocatedFrom(ino, inode, size);
  }
  std::vector<Cut>& cuts = inode.cuts;
  while (!cuts.empty() && cuts.back().size >= size) cuts.pop_back();  // the new cut says more
  if (cuts.size() == Inode::kMaxCuts) {
    // Make room: where two cuts lie closest, write down what the lower one means for the chunks
    // between them.
    size_t closest = 0;
    const auto gap = [&](size_t i) {
      return (i + 1 < cuts.size() ? cuts[i + 1].size : size) - cuts[i].size;
    };
    for (size_t i = 1; i < cuts.size(); ++i) {
      if (gap(i) < gap(closest)) closest = i;
    }
    const uint64_t from = cuts[closest].size;
    const uint64_t to = from + gap(closest);
    for (uint64_t chunk = from / kChunkBytes; chunk * kChunkBytes < to; ++chunk) {
      const auto next = view_->NextChunk(ino, chunk);
      if (!next || *next * kChunkBytes >= to) break;
      chunk = *next;
      ChunkMap map = LoadChunk(ino, chunk, before);
      const uint64_t start = chunk * kChunkBytes;
      if (size < start + kChunkBytes) map.CutAt(size - start);
      ChunkVersion version;
      version.full = true;
      version.extents = map.extents();
      map.depth = 0;
      map.own = true;
      change->PutChunk(ino, chunk, std::move(version), std::move(map));
    }
    cuts.erase(cuts.begin() + static_cast<ptrdiff_t>(closest));
  }
  cuts.push_back({size, change->at()});
  change->CutChunks(ino, size);
}

}  // namespace rw
