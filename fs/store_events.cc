// A volume's operations by wall clock, over the timelines that it was bound to.
#include <errno.h>

#include <algorithm>

#include "fs/events.h"
#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {

StoreImpl::EventSource StoreImpl::FindEvents(const std::string& name, const EventQuery& query) {
  const std::lock_guard lock(catalog_mutex_);
  const VolumeRecord& record = catalog_->NeedSource(name);
  if (record.fixed_at) {
    throw Refused(EROFS, name +
                             " is a snapshot volume: it shows one instant, and nothing happens "
                             "to it; ask for the volume that it was made of");
  }
  EventSource source;
  // Who takes it here and then the timeline's mutex knows that all operations up to it are
  // committed, and so is every change of the catalog that is dated up to it.
  source.read.until = std::min({query.until, record.removed.value_or(kInstantMax), clock_.Next()});
  source.read.begins = std::max(query.from, record.horizon);
  for (size_t i = 0; i < record.bindings.size(); ++i) {
    const Binding& binding = record.bindings[i];
    const bool last = i + 1 == record.bindings.size();
    Instant from = std::max(source.read.begins, binding.since);
    Instant until = last ? source.read.until
                         : std::min(source.read.until, Before(record.bindings[i + 1].since));
    if (query.timeline) {
      if (binding.timeline != *query.timeline) continue;
      until = source.read.until;
    }
    if (until < from) continue;
    if (binding.timeline == kControlTimeline || !catalog_->timelines().contains(binding.timeline)) {
      source.read.begins = std::max(source.read.begins, Instant{until.ns + 1});
      continue;
    }
    if (const auto broken = broken_.find(binding.timeline); broken != broken_.end())
      throw Refused(EIO, broken->second);
    WaitForOperations(binding.timeline);
    if (const auto covered = index_->FindCovered(binding.timeline))
      source.spans.push_back({binding.timeline, from, until, covered->position});
  }
  source.created = record.created;
  source.removed = record.removed;
  const auto asked = [&](Instant at) {
    return at >= source.read.begins && at <= source.read.until;
  };
  for (const auto& [label, mark] : catalog_->Marks(record.id)) {
    if (asked(mark.made)) source.marks.push_back(mark);
  }
  std::sort(source.marks.begin(), source.marks.end(),
            [](const Mark& a, const Mark& b) { return a.made < b.made; });
  for (size_t i = 1; i < record.bindings.size(); ++i) {
    const Binding& binding = record.bindings[i];
    if (!asked(binding.since)) continue;
    EventsBegin::Rollback rollback{binding.since, std::nullopt};
    const auto timeline = catalog_->timelines().find(binding.timeline);
    if (timeline != catalog_->timelines().end() && timeline->second.parent)
      rollback.to = timeline->second.fork;
    source.rollbacks.push_back(rollback);
  }
  return source;
}

EventsRead StoreImpl::ReadEvents(const std::string& name, const EventQuery& query,
                                 const EventCallback& callback) {
  EventSource source = FindEvents(name, query);
  if (query.begin) query.begin(source);
  for (const EventSource::Span& span : source.spans) {
    JournalEvents events(files_, segments_.get(), index_.get(), span.timeline, span.end,
                         &source.read);
    if (!events.Read(span.from, span.until, callback, query.writer)) {
      source.read.ended = true;
      break;
    }
  }
  return source.read;
}

}  // namespace rw
