#include "fs/touched.h"

#include <errno.h>

#include <algorithm>

#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kMaxTouched = 4'000'000;
constexpr int kStepsBeforeSeek = 4;
constexpr size_t kInoOffset = 1 + 4;
constexpr size_t kNameOffset = kInoOffset + 8 + 8;
// An event costs about as much as a step through the index, and of an inode and its names there are
// a few steps, however many versions. So of few inodes the index tells sooner than many events, and
// what was read of these in vain is little.
constexpr uint64_t kEventsAnyway = 20'000;

// What lies between two readings of timelines that have a common past.
std::vector<Touched::Range> RangesBetween(const View& a, const View& b) {
  std::vector<Touched::Range> ranges;
  const auto find = [](const View& view, TimelineId timeline) {
    return std::find_if(view.chain().begin(), view.chain().end(),
                        [&](const View::Link& link) { return link.timeline == timeline; });
  };
  const auto add_own = [&](const View& view, const View& other) {
    for (size_t i = 0; i < view.chain().size(); ++i) {
      const View::Link& link = view.chain()[i];
      if (find(other, link.timeline) != other.chain().end()) return i;
      const Instant fork = i + 1 < view.chain().size() ? view.chain()[i + 1].until : Instant{};
      ranges.push_back({link.timeline, fork, link.until});
    }
    return view.chain().size();
  };
  const size_t common = add_own(a, b);
  add_own(b, a);
  if (common < a.chain().size()) {
    const View::Link& link = a.chain()[common];
    const Instant other = find(b, link.timeline)->until;
    if (link.until != other) {
      ranges.push_back({link.timeline, std::min(link.until, other), std::max(link.until, other)});
    }
  }
  return ranges;
}

class Gatherer {
 public:
  Gatherer(Store& store, const Past& past, bool use_events, Touched* touched)
      : store_(store), past_(past), use_events_(use_events), touched_(touched) {}

  void Gather(const Touched::Range& range) {
    if (use_events_ && FromEvents(range)) return;
    touched_->by_events = false;
    FromIndex(range);
  }

 private:
  bool FromEvents(const Touched::Range& range) {
    uint64_t left = kEventsAnyway + 4 * past_.index()->LastIno(range.timeline);
    EventQuery query;
    query.from = Instant{range.after.ns + 1};
    query.until = range.until;
    query.timeline = range.timeline;
    try {
      const EventsRead read = store_.ReadEvents(past_.name(), query, [&](const Event& event) {
        const Mutations& mutations = event.body.mutations;
        for (const InodeMutation& m : mutations.inodes) Add(m.ino);
        for (const NameMutation& m : mutations.names) Add(m.parent, m.name);
        return --left > 0;
      });
      return !read.ended && read.holes.empty() && read.begins <= query.from &&
             read.until >= query.until;
    } catch (const Refused& refused) {
      if (refused.error() == E2BIG) throw;
      return false;  // of a snapshot volume, or no longer there
    }
  }

  void FromIndex(const Touched::Range& range) {
    ForEachTouched(past_.index(), TypePrefix(KeyType::kInode, range.timeline), range.after,
                   range.until, [&](std::string_view key, std::string_view) {
                     Add(GetBigEndian<uint64_t>(key.data() + kInoOffset));
                     return true;
                   });
    ForEachTouched(past_.index(), TypePrefix(KeyType::kName, range.timeline), range.after,
                   range.until, [&](std::string_view key, std::string_view) {
                     Add(GetBigEndian<uint64_t>(key.data() + kInoOffset),
                         std::string(key.substr(kNameOffset, key.size() - kNameOffset - 1)));
                     return true;
                   });
  }

  void Add(Ino ino) {
    touched_->inodes.insert(ino);
    CheckSize();
  }
  void Add(Ino parent, std::string name) {
    touched_->names.emplace(parent, std::move(name));
    CheckSize();
  }
  void CheckSize() const {
    if (touched_->inodes.size() + touched_->names.size() <= kMaxTouched) return;
    throw Refused(E2BIG, "more than " + std::to_string(kMaxTouched) +
                             " files and names were touched between the two times; choose times "
                             "that lie closer");
  }

  Store& store_;
  const Past& past_;
  const bool use_events_;
  Touched* touched_;
};

}  // namespace

void ForEachTouched(Index* index, const std::string& prefix, Instant after, Instant until,
                    const std::function<bool(std::string_view, std::string_view)>& callback) {
  const auto cursor = index->NewCursor(prefix, Index::Purpose::kScan);
  std::string key;  // without its instant
  cursor->Seek(prefix);
  while (cursor->Valid()) {
    if (cursor->key().size() < kInoOffset + 8 + kInstantBytes)
      throw Refused(EIO, "index: a versioned key is too short");
    key.assign(cursor->key().substr(0, cursor->key().size() - kInstantBytes));
    const auto at_key = [&] {
      return cursor->Valid() && cursor->key().size() == key.size() + kInstantBytes &&
             cursor->key().starts_with(key);
    };
    int steps = 0;
    while (at_key() && InstantOf(cursor->key()) > until) {
      if (++steps <= kStepsBeforeSeek) {
        cursor->Next();
      } else {
        cursor->Seek(WithInstant(key, until));
      }
    }
    if (at_key() && InstantOf(cursor->key()) > after && !callback(key, cursor->value())) return;
    // To the next key.
    for (steps = 0; at_key();) {
      if (++steps <= kStepsBeforeSeek) {
        cursor->Next();
      } else {
        cursor->Seek(WithInstant(key, Instant{}));
        if (at_key() && InstantOf(cursor->key()) == Instant{}) cursor->Next();
      }
    }
  }
}

Touched FindTouched(Store& store, const Past& past, const View& a, const View& b, bool use_events) {
  Touched touched;
  touched.ranges = RangesBetween(a, b);
  Gatherer gatherer(store, past, use_events, &touched);
  for (const Touched::Range& range : touched.ranges) gatherer.Gather(range);
  return touched;
}

}  // namespace rw
