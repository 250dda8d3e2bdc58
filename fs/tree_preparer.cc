#include "fs/tree_preparer.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>

#include "metadata/refused.h"

namespace rw {
namespace {

// Of one operation: few enough to hold the volume's mutex for a moment only.
constexpr size_t kNodesAtOnce = 64;
constexpr uint64_t kChunksAtOnce = 64;
constexpr size_t kNamesAtOnce = 256;

uint64_t ChunkCount(const Inode& inode) {
  return inode.is_regular() ? (inode.size + kChunkBytes - 1) / kChunkBytes : 0;
}

}  // namespace

TreePreparer::TreePreparer(ViewVolume* head, ViewVolume* source, ViewVolume::SharedSource shared,
                           std::function<void()> step, std::function<bool()> make_room)
    : head_(head),
      source_(source),
      shared_(std::move(shared)),
      step_(std::move(step)),
      make_room_(std::move(make_room)) {}

void TreePreparer::Do(const std::function<void()>& operation) {
  step_();
  for (;;) {
    try {
      operation();
      return;
    } catch (const RefusedForGood&) {
      throw;
    } catch (const Refused& refused) {
      if (refused.error() != ENOSPC || !make_room_()) throw;
    }
  }
}

ViewVolume::Prepared TreePreparer::Describe(Ino parent, const std::string& name, Ino source_ino,
                                            const Inode& inode) {
  ViewVolume::Prepared node;
  node.parent = parent;
  node.name = name;
  node.inode = inode;
  node.source = source_ino;
  for (std::string& xattr : source_->ListXattrs(source_ino)) {
    std::string value = source_->GetXattr(source_ino, xattr).value_or("");
    node.xattrs.emplace_back(std::move(xattr), std::move(value));
  }
  return node;
}

void TreePreparer::Add(Ino parent, const std::string& name, Ino source_ino,
                       std::vector<Directory>* found) {
  const auto inode = source_->FindInode(source_ino);
  if (!inode) throw Refused(EIO, "damaged: a name leads to no inode");
  const bool linked = !inode->is_dir() && inode->nlink > 1;
  if (linked) {
    // Its number is needed.
    if (std::find(batch_sources_.begin(), batch_sources_.end(), source_ino) != batch_sources_.end())
      Flush(found);
    if (const auto made = linked_.find(source_ino); made != linked_.end()) {
      ViewVolume::Prepared node;
      node.parent = parent;
      node.name = name;
      node.link_to = made->second;
      batch_.push_back(std::move(node));
      batch_sources_.push_back(0);
      if (batch_.size() >= kNodesAtOnce) Flush(found);
      return;
    }
  }
  ViewVolume::Prepared node = Describe(parent, name, source_ino, *inode);
  node.chunks = std::min(ChunkCount(*inode), kChunksAtOnce - batch_chunks_);
  batch_chunks_ += node.chunks;
  ++inodes_;
  if (inode->is_regular()) bytes_ += inode->size;
  batch_.push_back(std::move(node));
  batch_sources_.push_back(source_ino);
  if (batch_.size() >= kNodesAtOnce || batch_chunks_ >= kChunksAtOnce) Flush(found);
}

void TreePreparer::Flush(std::vector<Directory>* found) {
  if (batch_.empty()) return;
  std::vector<Ino> made;
  std::vector<ViewVolume::Unshared> unshared;
  Do([&] {
    unshared.clear();
    made = head_->Prepare({}, batch_, shared_, &unshared);
  });
  const std::vector<ViewVolume::Prepared> batch = std::move(batch_);
  batch_.clear();
  batch_sources_.clear();
  batch_chunks_ = 0;
  for (const ViewVolume::Unshared& left : unshared)
    CopyChunk(batch[left.index].source, made[left.index], left.chunk);
  for (size_t i = 0; i < batch.size(); ++i) {
    const ViewVolume::Prepared& node = batch[i];
    if (node.link_to != 0) continue;
    if (node.inode.is_dir()) {
      found->push_back({node.source, made[i]});
    } else {
      if (node.inode.nlink > 1) linked_[node.source] = made[i];
      if (node.chunks < ChunkCount(node.inode)) ShareRest(node.source, made[i], node.chunks);
    }
  }
}

void TreePreparer::ShareRest(Ino source_ino, Ino made, uint64_t from) {
  // Files may be sparse, and very large.
  while (const auto next = shared_.view.NextChunk(source_ino, from)) {
    std::vector<uint64_t> unshared;
    Do([&] {
      unshared.clear();
      head_->PrepareChunks({}, made, *next, *next + kChunksAtOnce, shared_, source_ino, &unshared);
    });
    for (const uint64_t chunk : unshared) CopyChunk(source_ino, made, chunk);
    from = *next + kChunksAtOnce;
  }
}

// What lies in segments that may go before this timeline does.
void TreePreparer::CopyChunk(Ino source_ino, Ino made, uint64_t chunk) {
  const auto inode = source_->FindInode(source_ino);
  ChunkMap map = shared_.view.FindChunk(source_ino, chunk, inode->cuts);
  const uint64_t start = chunk * kChunkBytes;
  const View& from = shared_.view;
  const ChunkVersionKey owner{from.chain().front().timeline, source_ino, chunk, from.at()};
  map.CutAt(inode->size - start);
  std::vector<char> data;
  for (const Extent& extent : map.extents()) {
    data.resize(extent.length);
    source_->Read(source_ino, start + extent.offset, data);
    Do([&] { head_->PrepareData({}, made, start + extent.offset, data, owner); });
  }
}

void TreePreparer::AddSome(Directory* directory, std::vector<Directory>* found, bool* ended) {
  const std::vector<DirEntry> entries =
      source_->ReadDir(directory->source, directory->after, kNamesAtOnce);
  for (const DirEntry& entry : entries) {
    Add(directory->made, entry.name, entry.ino, found);
    directory->after = entry.cookie;
  }
  Flush(found);
  *ended = entries.size() < kNamesAtOnce;
}

void TreePreparer::AddTree(Ino parent, const std::string& name, Ino source_ino) {
  std::vector<Directory> open;
  Add(parent, name, source_ino, &open);
  Flush(&open);
  while (!open.empty()) {
    std::vector<Directory> found;
    bool ended = false;
    AddSome(&open.back(), &found, &ended);
    if (ended) open.pop_back();
    open.insert(open.end(), found.begin(), found.end());
  }
}

Ino TreePreparer::AddDirectory(Ino parent, const std::string& name, Ino source_ino) {
  std::vector<Directory> made;
  Add(parent, name, source_ino, &made);
  Flush(&made);
  return made.at(0).made;
}

Ino TreePreparer::AddPlainDirectory(Ino parent, const std::string& name) {
  ViewVolume::Prepared node;
  node.parent = parent;
  node.name = name;
  node.inode.mode = S_IFDIR | 0755;
  node.inode.atime = node.inode.mtime = ToFileTime(head_->last_instant());
  std::vector<Ino> made;
  std::vector<ViewVolume::Unshared> unshared;
  Do([&] { made = head_->Prepare({}, {node}, shared_, &unshared); });
  ++inodes_;
  return made.at(0);
}

}  // namespace rw
