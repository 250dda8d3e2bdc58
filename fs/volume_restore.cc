// Taking something of the past back into a head: it is made where nobody sees it, then takes its
// place in one operation; what was there goes in the end. See fs/README.md, "Restoring".
#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "fs/transaction.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// Names that one operation removes: few enough to hold the mutex for a moment only.
constexpr size_t kNamesAtOnce = 64;

uint32_t TypeOf(const Inode& inode) { return inode.mode & S_IFMT; }

// Another entry of a directory whose times stay; that of all that is prepared has no links.
void CountEntry(Inode* directory, const Inode& entry) {
  directory->allocated = ++directory->size;
  if (entry.is_dir() && directory->nlink != 0) ++directory->nlink;
}

}  // namespace

Ino ViewVolume::BeginPreparing(const Caller& caller) {
  Transaction change(this, caller, RecordType::kPrepare);
  const Ino ino = timeline_->NextIno();
  Inode& inode = change.StageNew(ino, {});
  inode.mode = S_IFDIR | S_IRWXU;
  inode.parent = kRootIno;
  inode.atime = inode.mtime = inode.ctime = change.now();
  staging_.insert(ino);
  try {
    change.Commit();
  } catch (...) {
    staging_.erase(ino);
    throw;
  }
  return ino;
}

void ViewVolume::EndPreparing(Ino directory) {
  const std::lock_guard lock(mutex());
  if (staging_.erase(directory) > 0) full_unlinked_ = true;
}

std::vector<Ino> ViewVolume::Prepare(const Caller& caller, const std::vector<Prepared>& nodes,
                                     const SharedSource& source, std::vector<Unshared>* unshared) {
  Transaction change(this, caller, RecordType::kPrepare);
  std::vector<Ino> inos;
  Ino next = timeline_->NextIno();
  for (const Prepared& node : nodes) {
    const Ino ino = node.link_to != 0 ? node.link_to : next++;
    inos.push_back(ino);
    if (node.link_to != 0) {
      Inode& linked = change.Stage(ino);
      ++linked.nlink;
      linked.ctime = change.now();
    } else {
      Inode& inode = change.StageNew(ino, node.inode);
      inode.nlink = inode.is_dir() ? 2 : 1;
      inode.ctime = change.now();
      inode.cuts.clear();
      inode.allocated = inode.is_regular() ? 0 : inode.size;
      if (inode.is_dir()) {
        inode.parent = node.parent;
        inode.size = inode.allocated = 0;
      }
      for (const auto& [name, value] : node.xattrs) change.PutXattr(ino, name, value);
      std::vector<uint64_t> left;
      ShareChunks(&change, ino, 0, node.chunks, source, node.source, &left);
      for (const uint64_t chunk : left) unshared->push_back({inos.size() - 1, chunk});
    }
    const Inode made = change.Stage(ino);
    change.PutName(node.parent, node.name, ino, TypeOf(made));
    CountEntry(&change.Stage(node.parent), made);
  }
  change.Commit();
  return inos;
}

void ViewVolume::PrepareChunks(const Caller& caller, Ino ino, uint64_t from, uint64_t to,
                               const SharedSource& source, Ino source_ino,
                               std::vector<uint64_t>* unshared) {
  Transaction change(this, caller, RecordType::kPrepare);
  ShareChunks(&change, ino, from, to, source, source_ino, unshared);
  change.Commit();
}

// Where the source's data lie is looked up under this timeline's mutex, in the index: then what is
// committed is either seen by who moves data meanwhile (MoveWatch), or was looked up after they
// were moved. What the source's own view has cached may lie nowhere any more.
void ViewVolume::ShareChunks(Transaction* change, Ino ino, uint64_t from, uint64_t to,
                             const SharedSource& source, Ino source_ino,
                             std::vector<uint64_t>* unshared) {
  if (from >= to) return;
  const auto original = source.view.FindInode(source_ino);
  if (!original) throw Refused(EIO, "damaged: what is to be restored has no inode");
  Inode& inode = change->Stage(ino);
  for (uint64_t chunk = from; chunk < to; ++chunk) {
    const auto next = source.view.NextChunk(source_ino, chunk);
    if (!next || *next >= to || *next * kChunkBytes >= original->size) return;
    chunk = *next;
    ChunkMap map = source.view.FindChunk(source_ino, chunk, original->cuts);
    map.CutAt(original->size - chunk * kChunkBytes);
    const auto& extents = map.extents();
    if (extents.empty()) continue;
    if (std::any_of(extents.begin(), extents.end(), [&](const Extent& extent) {
          return !source.timelines.contains(extent.timeline);
        })) {
      unshared->push_back(chunk);
      continue;
    }
    inode.allocated += map.allocated();
    ChunkVersion version;
    version.full = true;
    version.extents = extents;
    map.depth = 0;
    map.own = true;
    change->BringBack();
    change->PutChunk(ino, chunk, std::move(version), std::move(map));
  }
}

Ino ViewVolume::WalkToParent(const std::vector<std::string>& path) {
  Ino at = kRootIno;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const auto found = LoadName(at, path[i]);
    if (!found || found->type != S_IFDIR) return 0;
    at = found->ino;
  }
  return at;
}

void ViewVolume::PutInPlace(Transaction* change, Ino directory, const Placement& placement,
                            RestoreNote* note) {
  const std::string& name = placement.path.back();
  const Ino parent = WalkToParent(placement.path);
  const auto present = parent != 0 ? LoadName(parent, name) : std::nullopt;
  if (parent == 0 || (present ? present->ino : 0) != placement.expected)
    throw Refused(EAGAIN, "something else is there than a moment ago");
  RestoreNote::Place& place = note->places.emplace_back();
  for (const std::string& part : placement.path) place.path += "/" + part;
  place.parent = parent;
  place.name = name;
  if (present) {
    place.displaced = present->ino;
    change->DropLink(present->ino);
    if (present->type == S_IFDIR) --change->Stage(parent).nlink;
  }
  if (placement.prepared.empty()) {
    if (present) change->EndName(parent, name);
    change->TouchDirectory(parent, present ? -1 : 0);
    return;
  }
  const ViewName prepared = NeedName(directory, placement.prepared);
  change->EndName(directory, placement.prepared);
  change->PutName(parent, name, prepared.ino, prepared.type);
  change->TouchDirectory(parent, present ? 0 : 1);
  Inode& inode = change->Stage(prepared.ino);
  inode.ctime = change->now();
  if (inode.is_dir()) {
    inode.parent = parent;
    ++change->Stage(parent).nlink;
  }
}

ViewVolume::Placed ViewVolume::Place(const Caller& caller, Ino directory,
                                     const std::vector<Placement>& placements, Instant source,
                                     std::optional<Instant> undoes) {
  Transaction change(this, caller, RecordType::kRestore);
  Placed placed;
  placed.at = change.at();
  placed.note.source = source;
  placed.note.undoes = undoes;
  for (const Placement& placement : placements)
    PutInPlace(&change, directory, placement, &placed.note);
  change.End(directory);
  change.SetRestored(placed.note);
  change.Commit();
  staging_.erase(directory);
  return placed;
}

ViewVolume::Emptied ViewVolume::EmptySome(Ino directory, uint64_t* after, bool end) {
  Transaction change(this, {}, RecordType::kForget);
  Emptied emptied;
  const auto unlinked = LoadInode(directory);
  if (!unlinked || unlinked->nlink != 0 || staging_.contains(directory)) {
    emptied.empty = true;
    return emptied;
  }
  // Nothing comes into it any more, so what was gone through is gone.
  const std::vector<ViewName> names = timeline_->names().List(directory, *after, kNamesAtOnce);
  if (!names.empty()) *after = names.back().cookie;
  for (const ViewName& name : names) {
    change.EndName(directory, name.name);
    change.DropLink(name.ino);
    const Inode& inode = change.Stage(name.ino);
    if (inode.is_dir()) {
      emptied.directories.push_back(name.ino);
    } else if (inode.nlink == 0 && end) {
      change.End(name.ino);
    } else if (inode.nlink == 0) {
      emptied.nameless.push_back(name.ino);
    }
  }
  Inode& inode = change.Stage(directory);
  emptied.empty = names.size() < kNamesAtOnce;
  inode.size -= std::min<uint64_t>(inode.size, names.size());
  if (emptied.empty) inode.size = 0;
  inode.allocated = inode.size;
  if (emptied.empty && end) change.End(directory);
  change.Commit();
  return emptied;
}

std::vector<std::pair<Ino, uint64_t>> ViewVolume::TakeFullUnlinked() {
  std::vector<std::pair<Ino, uint64_t>> directories;
  if (timeline_ == nullptr) return directories;
  const std::lock_guard lock(mutex());
  if (!std::exchange(full_unlinked_, false)) return directories;
  for (const Ino ino : orphans_) {
    if (staging_.contains(ino)) continue;
    const auto inode = LoadInode(ino);
    if (inode && inode->is_dir() && inode->size != 0) directories.emplace_back(ino, kFirstCookie);
  }
  return directories;
}

bool ViewVolume::EmptyUnlinked(const AskKernel& ask, uint64_t max_operations) {
  std::vector<std::pair<Ino, uint64_t>> directories = TakeFullUnlinked();  // and where in them
  const auto again = [this] {
    const std::lock_guard lock(mutex());
    full_unlinked_ = true;
  };
  try {
    while (!directories.empty()) {
      if (max_operations-- == 0) {
        again();
        return false;
      }
      const Ino directory = directories.back().first;
      Emptied emptied = EmptySome(directory, &directories.back().second, ask == nullptr);
      if (emptied.empty) {
        directories.pop_back();
        if (ask != nullptr) emptied.nameless.push_back(directory);
      }
      for (const Ino found : emptied.directories) directories.emplace_back(found, kFirstCookie);
      if (ask != nullptr) ask(emptied.nameless);
    }
  } catch (...) {
    again();
    throw;
  }
  return true;
}

std::vector<RestoreNote::Place> ViewVolume::LastRestored() {
  if (timeline_ == nullptr) return {};
  auto last = context_.index->ListRestores(timeline_->record().id, Instant{}, kInstantMax, 1);
  return last.empty() ? std::vector<RestoreNote::Place>() : std::move(last.front().second.places);
}

}  // namespace rw
