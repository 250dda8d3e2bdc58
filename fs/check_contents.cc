#include <errno.h>

#include <algorithm>

#include "fs/check_index.h"
#include "fs/check_journal.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kVersionsBetweenLooks = 1024;
constexpr size_t kReadAtOnce = 64 << 10;

}  // namespace

std::vector<View::Link> ChainOf(const CheckedTimeline& timeline, Instant at) {
  std::vector<View::Link> chain = timeline.parent_chain;
  chain.insert(chain.begin(), {timeline.id, at, timeline.first_ino});
  return chain;
}

bool ContentsCheck::Run() {
  Index* index = context_->store.index;
  const std::string all = TypePrefix(KeyType::kChunk, timeline_.id);
  uint64_t walked = 0;
  // Where the index cannot be read, the walk goes on behind it.
  try {
    const auto cursor = index->NewCursor(all, Index::Purpose::kScan);
    std::string prefix;
    std::vector<Version> versions;
    for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
      const std::string_view key = cursor->key();
      if (key.substr(0, key.size() - kInstantBytes) != prefix) {
        CheckChunk(prefix, versions);
        versions.clear();
        prefix = key.substr(0, key.size() - kInstantBytes);
      }
      const Instant version_at = InstantOf(key);
      if (version_at > context_->until) continue;
      ++context_->report->versions;
      versions.push_back(
          {std::string(key), version_at, ChunkVersion::Decode(cursor->value(), timeline_.id)});
      if (++walked % kVersionsBetweenLooks == 0) {
        context_->Progress("index", walked, 0);
        if (!context_->Pace(0)) return false;
      }
    }
    CheckChunk(prefix, versions);
  } catch (const Refused& refused) {
    context_->AddUnreadable(timeline_, "where contents lie", refused);
  }
  return true;
}

bool ContentsCheck::IsNeeded(const ChunkVersionKey& key, Instant first) const {
  const View view(context_->store.index, ChainOf(timeline_, first));
  const auto inode = view.FindInode(key.ino);
  return inode && CutLimit(inode->cuts, key.at) > key.chunk * kChunkBytes;
}

std::string ContentsCheck::WhyUnreadable(const Extent& extent) {
  const auto journal = journals_.find(extent.timeline);
  if (journal != journals_.end() && journal->second.KnowsSound(extent)) return {};
  std::vector<char> bytes(std::min<size_t>(extent.length, kReadAtOnce));
  try {
    for (uint32_t from = 0; from < extent.length;) {
      const auto length = std::min<uint32_t>(extent.length - from, kReadAtOnce);
      context_->store.segments->Read(extent, from, std::span(bytes).first(length));
      from += length;
    }
  } catch (const Refused& refused) {
    return refused.what();
  }
  return {};
}

// `versions`: the newest first.
void ContentsCheck::CheckChunk(const std::string& prefix, const std::vector<Version>& versions) {
  Instant next = kInstantMax;
  for (const Version& version : versions) {
    const auto first = timeline_.kept.FirstIn(version.at, next);
    next = version.at;
    if (!first) continue;
    for (const Extent& extent : version.value.extents) {
      if (extent.hole()) continue;
      ++context_->report->extents;
      if (WhyUnreadable(extent).empty()) continue;
      // It may have been moved, or gone with its instants.
      const auto now = context_->store.index->Get(version.key);
      if (!now || !(ChunkVersion::Decode(*now, timeline_.id).extents == version.value.extents))
        continue;
      if (!IsNeeded(SplitChunkKey(version.key), *first)) continue;
      return AddHurts(prefix, versions);
    }
  }
}

// What of the chunk is hurt, and when.
void ContentsCheck::AddHurts(const std::string& prefix, const std::vector<Version>& versions) {
  const ChunkVersionKey key = SplitChunkKey(WithInstant(prefix, {}));
  PathFinder paths(context_->store.index, timeline_);
  std::vector<Hurt> open;  // that go on, as they were at the version before
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    const Instant next =
        std::next(version) == versions.rend() ? kInstantMax : std::next(version)->at;
    const auto first = timeline_.kept.FirstIn(version->at, next);
    if (!first) continue;
    const View view(context_->store.index, ChainOf(timeline_, *first));
    const auto inode = view.FindInode(key.ino);
    std::vector<Hurt> now;
    if (inode) {
      const ChunkMap map = view.FindChunk(key.ino, key.chunk, inode->cuts);
      for (const Extent& extent : map.extents()) {
        const std::string why = WhyUnreadable(extent);
        const uint64_t offset = key.chunk * kChunkBytes + extent.offset;
        if (why.empty() || offset >= inode->size) continue;
        Hurt hurt{HurtKind::kData, timeline_.volumes, "",  offset, extent.length,
                  *first,          kInstantMax,       why, false};
        now.push_back(std::move(hurt));
      }
    }
    for (Hurt& before : open) {
      const auto same = std::find_if(now.begin(), now.end(), [&](const Hurt& hurt) {
        return hurt.offset == before.offset && hurt.length == before.length &&
               hurt.what == before.what;
      });
      if (same != now.end()) {
        same->from = before.from;
        continue;
      }
      before.until = version->at;
      before.path = paths.PathOf(key.ino, before.from);
      context_->Add(std::move(before));
    }
    open = std::move(now);
  }
  for (Hurt& hurt : open) {
    hurt.path = paths.PathOf(key.ino, hurt.from);
    context_->Add(std::move(hurt));
  }
}

PathFinder::PathFinder(Index* index, const CheckedTimeline& timeline)
    : index_(index), timeline_(timeline) {}

std::string PathFinder::NameIn(const View& view, Ino parent, Ino ino) const {
  constexpr size_t kNamesAtOnce = 1000;
  for (uint64_t after = 0;;) {
    const std::vector<ViewName> names = view.ListNames(parent, after, kNamesAtOnce);
    for (const ViewName& name : names) {
      if (name.ino == ino) return name.name;
    }
    if (names.size() < kNamesAtOnce) return {};
    after = names.back().cookie;
  }
}

// Directories know their parents; who is in a file's directory only names tell.
std::string PathFinder::PathOf(Ino ino, Instant at) {
  try {
    const View view(index_, ChainOf(timeline_, at));
    const auto inode = view.FindInode(ino);
    std::string path;
    Ino parent = 0;
    if (inode && inode->is_dir()) {
      parent = ino;
    } else {
      for (const View::Link& link : view.chain()) {
        const std::string all = TypePrefix(KeyType::kName, link.timeline);
        const auto cursor = index_->NewCursor(all, Index::Purpose::kScan);
        for (cursor->Seek(all); parent == 0 && cursor->Valid(); cursor->Next()) {
          if (DecodeNameValue(cursor->value()).ino != ino || InstantOf(cursor->key()) > link.until)
            continue;
          constexpr size_t kNameOffset = 1 + 4 + 8 + 8;
          const std::string_view key = cursor->key();
          const std::string name(
              key.substr(kNameOffset, key.size() - kNameOffset - 1 - kInstantBytes));
          const Ino candidate = GetBigEndian<uint64_t>(key.data() + 5);
          const auto found = view.FindName(candidate, name);
          if (!found || found->ino != ino) continue;
          parent = candidate;
          path = "/" + name;
        }
        if (parent != 0) break;
      }
    }
    if (parent == 0) return {};  // it has no name then
    constexpr int kDeepest = 4096;
    for (int depth = 0; parent != kRootIno && depth < kDeepest; ++depth) {
      const auto directory = view.FindInode(parent);
      if (!directory) return {};
      const std::string name = NameIn(view, directory->parent, parent);
      if (name.empty()) return {};
      path.insert(0, "/" + name);
      parent = directory->parent;
    }
    return path.empty() ? "/" : path;
  } catch (const Refused&) {
    return {};  // the names are hurt, too
  }
}

}  // namespace rw
