#include "fs/transaction.h"

#include <errno.h>
#include <sys/stat.h>

#include "metadata/refused.h"

namespace rw {

Transaction::Transaction(ViewVolume* volume, const Caller& caller, RecordType type)
    : volume_(volume) {
  if (!volume->writable()) throw Refused(EROFS, "this view of the volume is read-only");
  lock_ = volume->timeline_->LockForOperation();
  if (volume->timeline_->ApplyPending()) volume->DropCaches();
  operation_.type = type;
  operation_.instant = volume->timeline_->NextInstant();
  operation_.unique = caller.unique;
  operation_.body.uid = caller.uid;
  operation_.body.pid = caller.pid;
  operation_.body.mutations.writer = caller.writer;
}

Inode& Transaction::Stage(Ino ino) {
  const auto found = inodes_.find(ino);
  if (found != inodes_.end()) return found->second.after.value();
  const Inode inode = volume_->NeedInode(ino);
  return inodes_.emplace(ino, Staged{inode, inode}).first->second.after.value();
}

Inode& Transaction::StageNew(Ino ino, Inode inode) {
  return inodes_.emplace(ino, Staged{std::nullopt, std::move(inode)}).first->second.after.value();
}

void Transaction::End(Ino ino) {
  Stage(ino);
  inodes_[ino].after.reset();
}

void Transaction::PutName(Ino parent, std::string_view name, Ino ino, uint32_t type) {
  operation_.body.mutations.names.push_back({parent, std::string(name), ino, type});
}

void Transaction::EndName(Ino parent, std::string_view name) { PutName(parent, name, 0, 0); }

void Transaction::TouchDirectory(Ino dir, int delta) {
  Inode& inode = Stage(dir);
  inode.mtime = inode.ctime = now();
  inode.size += static_cast<uint64_t>(static_cast<int64_t>(delta));
  inode.allocated = inode.size;
}

void Transaction::Adopt(Ino ino) { operation_.body.mutations.adopted.push_back(ino); }

void Transaction::DropLink(Ino ino) {
  Inode& inode = Stage(ino);
  inode.ctime = now();
  inode.nlink = inode.is_dir() ? 0 : inode.nlink - 1;
}

void Transaction::PutChunk(Ino ino, uint64_t chunk, ChunkVersion version, ChunkMap map) {
  operation_.body.mutations.chunks.push_back({ino, chunk, std::move(version)});
  chunks_.emplace_back(ViewVolume::ChunkKey{ino, chunk}, std::move(map));
}

void Transaction::PutXattr(Ino ino, std::string_view name, std::optional<std::string> value) {
  operation_.body.mutations.xattrs.push_back({ino, std::string(name), std::move(value)});
}

void Transaction::SetRange(uint64_t offset, uint64_t length) {
  operation_.body.offset = offset;
  operation_.body.length = length;
}

void Transaction::DropCapability(Ino ino) {
  Inode& inode = Stage(ino);
  if (!inode.has_capability) return;
  inode.has_capability = false;
  PutXattr(ino, kCapabilityXattr, std::nullopt);
}

void Transaction::ClearSuidSgid(Ino ino) {
  Inode& inode = Stage(ino);
  if (inode.is_dir()) return;
  inode.mode &= ~static_cast<uint32_t>(S_ISUID);
  if ((inode.mode & S_IXGRP) != 0) inode.mode &= ~static_cast<uint32_t>(S_ISGID);
}

void Transaction::TouchContents(Ino ino) {
  Inode& inode = Stage(ino);
  inode.mtime = inode.ctime = now();
}

void Transaction::CutChunks(Ino ino, uint64_t size) { cuts_.emplace_back(ino, size); }

void Transaction::Commit(std::span<const char> data) {
  Timeline& timeline = *volume_->timeline_;
  Totals totals = timeline.totals();
  Mutations& mutations = operation_.body.mutations;
  for (const auto& [ino, staged] : inodes_) {
    if (staged.before == staged.after) continue;
    mutations.inodes.push_back({ino, staged.after});
    // Of directories, `size` counts entries: only file contents are bytes.
    if (staged.before && !staged.before->is_dir()) totals.bytes -= staged.before->allocated;
    if (staged.after && !staged.after->is_dir()) totals.bytes += staged.after->allocated;
    totals.inodes += (staged.after ? 1 : 0);
    totals.inodes -= (staged.before ? 1 : 0);
  }
  if (totals.bytes > volume_->limit_bytes_ && totals.bytes > timeline.totals().bytes)
    throw SizeUsedUp(ENOSPC, "the volume's size is used up");
  operation_.body.totals = totals;
  operation_.data = data;
  const Journal::Appended where = timeline.Commit(&operation_);

  ++volume_->changes_;
  for (const InodeMutation& m : mutations.inodes) {
    volume_->CacheInode(m.ino, m.inode);
    if (!m.inode) {
      volume_->orphans_.erase(m.ino);
    } else if (m.inode->nlink == 0) {
      volume_->orphans_.insert(m.ino);
      volume_->full_unlinked_ |= m.inode->is_dir() && m.inode->size != 0;
    }
  }
  for (const Ino ino : mutations.adopted) volume_->orphans_.erase(ino);
  for (const auto& [ino, size] : cuts_) {
    const uint64_t chunk = size / kChunkBytes;
    if (ChunkMap* map = volume_->chunks_.Find({ino, chunk})) map->CutAt(size - chunk * kChunkBytes);
    volume_->chunks_.EraseRange({ino, chunk + 1}, {ino + 1, 0});
  }
  for (auto& [key, map] : chunks_) {
    map.Resolve(timeline.record().id, where.record.segment, where.first_frame);
    volume_->CacheChunk(key.first, key.second, std::move(map));
  }
}

}  // namespace rw
