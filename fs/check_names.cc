#include <errno.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/check_index.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// What happened to so many inodes is held in memory at once; more are taken in turns.
constexpr Ino kInosAtOnce = 1 << 20;
constexpr uint64_t kVersionsBetweenLooks = 4096;
constexpr size_t kInoOffset = 1 + 4;
constexpr size_t kNameOffset = kInoOffset + 8 + 8;

}  // namespace

bool NamesCheck::Run() {
  try {
    const Ino last = context_->store.index->LastIno(timeline_.id);
    for (Ino first = 0; first <= last; first += kInosAtOnce) {
      Events events;
      if (!CollectEvents(first, first + kInosAtOnce - 1, &events) ||
          !CheckInodes(first, first + kInosAtOnce - 1, &events))
        return false;
      count_ = false;
    }
    return CheckXattrs() && CheckHeads();
  } catch (const Refused& refused) {
    context_->AddUnreadable(timeline_, "names, attributes and xattrs", refused);
  }
  return true;
}

bool NamesCheck::CollectEvents(Ino first, Ino last, Events* events) {
  const std::string all = TypePrefix(KeyType::kName, timeline_.id);
  const auto cursor = context_->store.index->NewCursor(all, Index::Purpose::kScan);
  std::string prefix;
  std::vector<std::pair<Instant, NameValue>> versions;  // the newest first
  uint64_t walked = 0;
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    const std::string_view key = cursor->key();
    if (key.size() < kNameOffset + 1 + kInstantBytes)
      throw Refused(EIO, "index: a name's key is too short");
    if (key.substr(0, key.size() - kInstantBytes) != prefix) {
      AddEvents(prefix, versions, first, last, events);
      versions.clear();
      prefix = key.substr(0, key.size() - kInstantBytes);
    }
    const Instant at = InstantOf(key);
    if (at <= context_->until) versions.emplace_back(at, DecodeNameValue(cursor->value()));
    if (count_) ++context_->report->names;
    if (++walked % kVersionsBetweenLooks == 0) {
      context_->Progress("names", walked, 0);
      if (!context_->Pace(0)) return false;
    }
  }
  AddEvents(prefix, versions, first, last, events);
  return true;
}

void NamesCheck::AddEvents(std::string_view key,
                           const std::vector<std::pair<Instant, NameValue>>& versions, Ino first,
                           Ino last, Events* events) {
  if (versions.empty()) return;
  const Ino parent = GetBigEndian<uint64_t>(key.data() + kInoOffset);
  NameValue before;
  if (parent < timeline_.first_ino && !timeline_.parent_chain.empty()) {
    const View inherited(context_->store.index, timeline_.parent_chain);
    const std::string_view name = key.substr(kNameOffset, key.size() - kNameOffset - 1);
    if (const auto found = inherited.FindName(parent, name)) before = {found->ino, found->type};
  }
  const auto in_turn = [&](Ino ino) { return ino >= first && ino <= last; };
  const auto add = [&](const NameValue& value, Instant at, int change) {
    if (value.ino == 0) return;
    const int subdirectory = value.type == S_IFDIR ? change : 0;
    if (in_turn(value.ino)) (*events)[value.ino].push_back({at, change, 0, 0});
    if (in_turn(parent)) (*events)[parent].push_back({at, 0, change, subdirectory});
  };
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    add(before, version->first, -1);
    add(version->second, version->first, 1);
    before = version->second;
  }
}

bool NamesCheck::CheckInodes(Ino first, Ino last, Events* events) {
  const std::string all = TypePrefix(KeyType::kInode, timeline_.id);
  const auto cursor = context_->store.index->NewCursor(all, Index::Purpose::kScan);
  InodeVersions versions;  // the newest first
  Ino current = 0;         // none
  const auto finish = [&] {
    if (current == 0) return;
    const auto found = events->find(current);
    CheckInode(current, std::move(versions),
               found == events->end() ? std::vector<Event>{} : std::move(found->second));
    if (found != events->end()) events->erase(found);
    versions.clear();
    current = 0;
  };
  uint64_t walked = 0;
  for (cursor->Seek(InodePrefix(timeline_.id, first)); cursor->Valid(); cursor->Next()) {
    const std::string_view key = cursor->key();
    if (key.size() != kInoOffset + 8 + kInstantBytes)
      throw Refused(EIO, "index: an inode's key has a wrong size");
    const Ino ino = GetBigEndian<uint64_t>(key.data() + kInoOffset);
    if (ino > last) break;
    if (current != ino) finish();
    const Instant at = InstantOf(key);
    if (at > context_->until) continue;
    current = ino;
    ++context_->report->inodes;
    versions.emplace_back(at, cursor->value().empty()
                                  ? std::nullopt
                                  : std::optional(Inode::Decode(cursor->value(), at)));
    if (++walked % kVersionsBetweenLooks == 0 && !context_->Pace(0)) return false;
  }
  finish();
  for (auto& [ino, left] : *events) CheckInode(ino, {}, std::move(left));
  return true;
}

void NamesCheck::CheckInode(Ino ino, InodeVersions versions, std::vector<Event> events) {
  std::reverse(versions.begin(), versions.end());
  std::stable_sort(events.begin(), events.end(),
                   [](const Event& a, const Event& b) { return a.at < b.at; });
  std::optional<Inode> inode;
  Counts counts;
  if (ino < timeline_.first_ino && !timeline_.parent_chain.empty()) {
    inode = View(context_->store.index, timeline_.parent_chain).FindInode(ino);
    if (inode && inode->nlink > 0) {
      // Whether this is so, the parent's check tells.
      counts.links = inode->is_dir() ? (ino == kRootIno ? 0 : 1) : inode->nlink;
      counts.entries = inode->is_dir() ? static_cast<int64_t>(inode->size) : 0;
      counts.subdirectories = inode->is_dir() ? int64_t{inode->nlink} - 2 : 0;
    }
  }
  std::string last;
  for (size_t v = 0, e = 0; v < versions.size() || e < events.size();) {
    Instant at = kInstantMax;
    if (v < versions.size()) at = std::min(at, versions[v].first);
    if (e < events.size()) at = std::min(at, events[e].at);
    for (; v < versions.size() && versions[v].first == at; ++v) inode = versions[v].second;
    for (; e < events.size() && events[e].at == at; ++e) {
      counts.links += events[e].links;
      counts.entries += events[e].entries;
      counts.subdirectories += events[e].subdirectories;
    }
    Instant next = kInstantMax;
    if (v < versions.size()) next = std::min(next, versions[v].first);
    if (e < events.size()) next = std::min(next, events[e].at);
    if (const auto first = timeline_.kept.FirstIn(at, next))
      CheckState(ino, inode, counts, *first, &last);
  }
}

void NamesCheck::CheckState(Ino ino, const std::optional<Inode>& inode, const Counts& counts,
                            Instant at, std::string* last) {
  std::string what;
  const auto count = [](int64_t number, const char* things) {
    return std::to_string(number) + " " + things;
  };
  if (!inode) {
    if (counts.links != 0) what = count(counts.links, "names lead to an inode that is not there");
    if (counts.entries != 0) what = count(counts.entries, "names are in what is not there");
  } else if (inode->nlink == 0) {
    if (counts.links != 0) what = "has no links, but " + count(counts.links, "names");
    // What a restore prepares or has displaced has entries.
    if (counts.entries != (inode->is_dir() ? static_cast<int64_t>(inode->size) : 0))
      what = "was removed, and counts " +
             count(static_cast<int64_t>(inode->size), "entries, but has ") +
             std::to_string(counts.entries);
  } else if (inode->is_dir()) {
    if (counts.links != (ino == kRootIno ? 0 : 1))
      what = "a directory with " + count(counts.links, "names");
    if (int64_t{inode->nlink} != counts.subdirectories + 2)
      what = "has " + count(inode->nlink, "links, but ") +
             count(counts.subdirectories, "subdirectories");
    if (static_cast<int64_t>(inode->size) != counts.entries)
      what = "counts " + count(static_cast<int64_t>(inode->size), "entries, but has ") +
             std::to_string(counts.entries);
  } else if (counts.links != inode->nlink) {
    what = "has " + count(inode->nlink, "links, but ") + count(counts.links, "names");
  }
  if (what.empty() || what == *last) {
    *last = what;
    return;
  }
  *last = what;
  Hurt hurt;
  hurt.kind = HurtKind::kNames;
  hurt.volumes = timeline_.volumes;
  hurt.path = PathFinder(context_->store.index, timeline_).PathOf(ino, at);
  hurt.from = at;
  hurt.what =
      "inode " + std::to_string(ino) + " of timeline " + std::to_string(timeline_.id) + " " + what;
  context_->Add(std::move(hurt));
}

bool NamesCheck::CheckXattrs() {
  const std::string all = TypePrefix(KeyType::kXattr, timeline_.id);
  const auto cursor = context_->store.index->NewCursor(all, Index::Purpose::kScan);
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    const std::string_view value = cursor->value();
    if (!value.empty() && value.front() != 1) throw Refused(EIO, "index: an xattr does not decode");
    if (++context_->report->xattrs % kVersionsBetweenLooks == 0 && !context_->Pace(0)) return false;
  }
  return true;
}

// What is kept of the head apart says the same as the newest versions do.
bool NamesCheck::CheckHeads() {
  const std::string all = TypePrefix(KeyType::kHeadName, timeline_.id);
  const View view(context_->store.index, ChainOf(timeline_, kInstantMax));
  const auto cursor = context_->store.index->NewCursor(all, Index::Purpose::kScan);
  uint64_t walked = 0;
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    const std::string key(cursor->key());
    const std::string value(cursor->value());
    const Ino parent = GetBigEndian<uint64_t>(key.data() + kInoOffset);
    const std::string name = key.substr(kNameOffset);
    const auto found = view.FindName(parent, name);
    const NameValue head = DecodeNameValue(value);
    // Unless it has changed since the walk began.
    if ((!found || found->ino != head.ino) && context_->store.index->Get(key) == value &&
        timeline_.kept.Contains(kInstantMax)) {
      context_->Add({HurtKind::kNames, timeline_.volumes, "", 0, 0, context_->until, kInstantMax,
                     "the name " + name + " in inode " + std::to_string(parent) +
                         " is another for the head than for a view of now",
                     false});
    }
    if (++walked % kVersionsBetweenLooks == 0 && !context_->Pace(0)) return false;
  }
  return true;
}

}  // namespace rw
