// Long chains of timelines are shortened: one that is needed only for what was forked from it is
// joined with its only child. Reads then look through one timeline less.
//
// The child gets the parent's keys, under their instants, and the parent's parent. Whoever reads
// with the longer chain finds the same meanwhile: first in the child, what it would have found in
// the parent. The parent's segments stay where they are for as long as they are referred to.
#include <errno.h>

#include <algorithm>

#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kCopiedAtOnce = 256;

}  // namespace

void StoreImpl::ShortenChains() {
  while (const auto found = FindToAbsorb()) {
    const auto [parent, child] = *found;
    Instant fork;
    {
      const std::lock_guard lock(catalog_mutex_);
      fork = catalog_->timelines().at(child).fork;
    }
    if (!CopyKeys(parent, child, fork)) return;  // the next run begins again
    index_->Flush();                             // before the catalog says that they are there
    RaiseIndexFloor();
    Absorb(parent, child);
  }
}

std::optional<std::pair<TimelineId, TimelineId>> StoreImpl::FindToAbsorb() {
  const std::lock_guard lock(catalog_mutex_);
  std::set<TimelineId> looked_at;
  catalog_->KeptWith(OpenViews(), nullptr, &looked_at);
  std::map<TimelineId, std::vector<TimelineId>> children;
  for (const auto& [id, record] : catalog_->timelines()) {
    if (!record.dropped && !record.absorbed_by && record.parent)
      children[*record.parent].push_back(id);
  }
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped || record.absorbed_by || broken_.contains(id)) continue;
    const auto chain = catalog_->Chain(id, kInstantMax);
    if (chain.size() <= collector_options_.max_chain) continue;
    for (size_t i = 1; i < chain.size(); ++i) {
      const TimelineId parent = chain[i].timeline;
      if (looked_at.contains(parent) || children[parent].size() != 1 || broken_.contains(parent))
        continue;
      return std::pair{parent, children[parent].front()};
    }
  }
  return std::nullopt;
}

bool StoreImpl::CopyKeys(TimelineId from, TimelineId to, Instant until) {
  // What replays into the index first is what must not come later.
  Index::Entries entries;
  for (const KeyType type : {KeyType::kChunk, KeyType::kXattr, KeyType::kName, KeyType::kInode}) {
    const std::string prefix = TypePrefix(type, from);
    const std::string target = TypePrefix(type, to);
    std::string copied;  // the key that was looked at last, without its instant
    const auto cursor = index_->NewCursor(prefix, Index::Purpose::kScan);
    for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
      if (!GoOn()) return false;
      const std::string_view key = cursor->key();
      if (rw::InstantOf(key) > until) continue;
      // All versions of a key or none: each builds on those below it.
      const std::string_view versioned = key.substr(0, key.size() - kInstantBytes);
      if (versioned != copied && entries.size() >= kCopiedAtOnce) {
        index_->Rewrite(entries);
        entries.clear();
      }
      copied = versioned;
      std::string value(cursor->value());
      if (type == KeyType::kChunk) value = ChunkVersion::Decode(value, from).Encode(to);
      entries.emplace_back(target + std::string(key.substr(prefix.size())), std::move(value));
    }
  }
  index_->Rewrite(entries);
  return true;
}

void StoreImpl::Absorb(TimelineId timeline, TimelineId into) {
  std::unique_lock lock(catalog_mutex_);
  TimelineRecord parent = catalog_->timelines().at(timeline);
  TimelineRecord child = catalog_->timelines().at(into);
  // Meanwhile somebody may have marked, opened or cloned what it showed.
  std::set<TimelineId> looked_at;
  catalog_->KeptWith(OpenViews(), nullptr, &looked_at);
  const auto others =
      std::count_if(catalog_->timelines().begin(), catalog_->timelines().end(), [&](const auto& t) {
        return !t.second.dropped && !t.second.absorbed_by && t.second.parent == timeline;
      });
  if (looked_at.contains(timeline) || others != 1) return;
  CatalogStore::Change change;
  child.parent = parent.parent;
  child.fork = parent.parent ? std::min(child.fork, parent.fork) : Instant{};
  parent.parent.reset();
  parent.absorbed_by = into;
  child.took_in = true;
  change.put_timelines = {child, parent};
  catalog_->ForgetTimelines({timeline}, &change);
  catalog_->Commit(change);
  collect_soon_ = true;  // its keys go in the next run
}

TimelineId StoreImpl::AbsorberOf(TimelineId timeline) {
  for (;;) {
    const auto found = catalog_->timelines().find(timeline);
    if (found == catalog_->timelines().end())
      throw Refused(EIO, "data are referred to whose timeline is gone");
    if (!found->second.absorbed_by) return timeline;
    timeline = *found->second.absorbed_by;
  }
}

void StoreImpl::EndEmptyTimelines() {
  for (;;) {
    std::optional<TimelineId> empty;
    {
      const std::lock_guard lock(catalog_mutex_);
      const auto& timelines = catalog_->timelines();
      for (const auto& [id, record] : timelines) {
        if (!record.absorbed_by || !segments_->List(id).empty() ||
            !segments_->ListMoved(id).empty())
          continue;
        // Others' data may still have to find the way through it.
        const TimelineId candidate = id;
        const bool named = std::any_of(timelines.begin(), timelines.end(), [&](const auto& other) {
          return other.second.absorbed_by == candidate;
        });
        if (!named) empty = id;
      }
    }
    if (!empty) return;
    DeleteTimelineData(*empty);
  }
}

}  // namespace rw
