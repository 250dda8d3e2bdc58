// Checks a store while it is used; see fs/README.md, "Check".
#include <errno.h>
#include <spdlog/spdlog.h>

#include "fs/check_index.h"
#include "fs/check_journal.h"
#include "fs/store_impl.h"
#include "metadata/coding.h"
#include "metadata/inode_totals.h"
#include "metadata/refused.h"

namespace rw {

const char* HurtKindName(HurtKind kind) {
  switch (kind) {
    case HurtKind::kData:
      return "data";
    case HurtKind::kRecord:
      return "record";
    case HurtKind::kSegment:
      return "segment";
    case HurtKind::kIndex:
      return "index";
    case HurtKind::kNames:
      return "names";
    case HurtKind::kTotals:
      return "totals";
    case HurtKind::kTimeline:
      return "timeline";
  }
  return "other";
}

bool CheckReport::sound() const {
  return more == 0 && !index_damaged &&
         std::all_of(hurts.begin(), hurts.end(), [](const Hurt& hurt) { return hurt.repaired; });
}

std::vector<CheckedTimeline> StoreImpl::ChooseTimelines(const CheckOptions& options,
                                                        CheckReport* report) {
  const std::lock_guard lock(catalog_mutex_);
  const auto kept = catalog_->KeptWith({});
  std::map<TimelineId, CheckedTimeline> chosen;
  const auto add = [&](const VolumeRecord& record) {
    if (!options.volume.empty() && record.name != options.volume) return;
    std::vector<View::Link> links;
    if (options.at) {
      links = Resolve(record, options.at).chain;
    } else {
      for (const Binding& binding : record.bindings) {
        if (!catalog_->timelines().contains(binding.timeline)) continue;
        const auto chain = catalog_->Chain(binding.timeline, record.fixed_at.value_or(kInstantMax));
        links.insert(links.end(), chain.begin(), chain.end());
      }
    }
    for (const View::Link& link : links) {
      CheckedTimeline& timeline = chosen[link.timeline];
      if (options.at) timeline.kept.AddPoint(link.until);
      if (std::find(timeline.volumes.begin(), timeline.volumes.end(), record.name) ==
          timeline.volumes.end())
        timeline.volumes.push_back(record.name);
    }
  };
  for (const auto& [name, record] : catalog_->volumes()) add(record);
  if (options.volume.empty()) {
    for (const auto& [id, record] : catalog_->removed()) add(record);
  } else if (catalog_->Find(options.volume) == nullptr) {
    add(catalog_->NeedSource(options.volume));
  }
  std::vector<CheckedTimeline> timelines;
  for (auto& [id, timeline] : chosen) {
    timeline.id = id;
    if (const auto broken = broken_.find(id); broken != broken_.end()) {
      report->hurts.push_back({HurtKind::kTimeline, timeline.volumes, "", 0, 0, Instant{},
                               kInstantMax, broken->second, false});
      continue;
    }
    const TimelineRecord& record = catalog_->timelines().at(id);
    timeline.first_ino = record.first_ino;
    if (record.parent) timeline.parent_chain = catalog_->Chain(*record.parent, record.fork);
    if (options.at) {
      timeline.kept.Finish();
    } else if (const auto found = kept.find(id); found != kept.end()) {
      timeline.kept = found->second;
    }
    WaitForOperations(id);
    if (const auto open = OpenTimeline(id)) {
      timeline.end = open->end();
    } else if (const auto covered = index_->FindCovered(id)) {
      timeline.end = covered->position;
    }
    timelines.push_back(std::move(timeline));
  }
  return timelines;
}

// Corrects what can be of a journal that did not recover; what cannot be is told by that. False: it
// was ended early.
bool StoreImpl::RepairJournal(TimelineId id, const CheckOptions& options, CheckReport* report) {
  CheckReport found;
  CheckContext context(context_, options, &found, clock_.last());
  CheckedTimeline timeline;
  timeline.id = id;
  const auto segments = ListSegments(files_, segments_->TimelineDirectory(id));
  timeline.end = {segments.empty() ? 0 : segments.back(), UINT32_MAX};
  const bool go_on = JournalCheck(&context, timeline).Run();
  for (Hurt& hurt : found.hurts) {
    if (!hurt.repaired) continue;
    spdlog::warn("{} (repaired)", hurt.what);
    report->hurts.push_back(std::move(hurt));
  }
  return go_on;
}

// Volumes that were refused because their journals did not recover can be used afterwards, if what
// was damaged could be corrected.
bool StoreImpl::RepairBroken(const CheckOptions& options, CheckReport* report) {
  std::map<TimelineId, std::string> broken;
  {
    const std::lock_guard lock(catalog_mutex_);
    broken = broken_;
  }
  for (const auto& [id, why] : broken) {
    if (!RepairJournal(id, options, report)) return false;
    const std::lock_guard lock(catalog_mutex_);
    const auto record = catalog_->timelines().find(id);
    if (record == catalog_->timelines().end()) continue;
    try {
      CheckIsNotLost(record->second);
      const Timeline recovered(context_, record->second, catalog_->Chain(id, kInstantMax), false);
      broken_.erase(id);
      spdlog::warn("timeline {} has recovered", id);
    } catch (const Refused& refused) {
      broken_[id] = refused.what();
    }
  }
  return true;
}

CheckReport StoreImpl::Check(const CheckOptions& options) {
  CheckReport report;
  if (options.repair && !RepairBroken(options, &report)) {
    report.complete = false;
    return report;
  }
  const Instant until = clock_.Next();
  const std::vector<CheckedTimeline> timelines = ChooseTimelines(options, &report);
  CheckContext context(context_, options, &report, until);
  if (options.volume.empty()) {
    // What volumes there are, and all that the index keeps is read once, its checksums with it.
    CheckedTimeline control;
    control.id = kControlTimeline;
    control.end = index_->FindCovered(kControlTimeline).value_or(Covered{}).position;
    JournalCheck(&context, control).Run();
  }
  std::map<TimelineId, JournalCheck> journals;
  uint64_t done = 0;
  bool go_on = report.complete;
  for (const CheckedTimeline& timeline : timelines) {
    context.Progress("journal", done++, timelines.size());
    if (!go_on) break;
    go_on = journals.try_emplace(timeline.id, &context, timeline).first->second.Run();
  }
  for (const CheckedTimeline& timeline : timelines) {
    if (!go_on) break;
    go_on = ContentsCheck(&context, timeline, journals).Run();
    if (!go_on) break;
    const Collector::Pause pause(*collector_);
    go_on = NamesCheck(&context, timeline).Run();
  }
  if (go_on) CheckTotals(timelines, &context);
  for (const auto& range : index_->lost().ranges()) {
    const std::string& from = range.first;
    if (from.size() < 1 + sizeof(TimelineId)) continue;
    const auto id = GetBigEndian<TimelineId>(from.data() + 1);
    for (const CheckedTimeline& timeline : timelines) {
      if (timeline.id != id) continue;
      report.hurts.push_back({HurtKind::kIndex, timeline.volumes, "", 0, 0, Instant{}, kInstantMax,
                              "a part of the index of timeline " + std::to_string(id) +
                                  " was lost to damage earlier; what was there is EIO",
                              false});
    }
  }
  report.index_damaged = index_damaged_;
  return report;
}

// What heads are said to hold is what there is.
void StoreImpl::CheckTotals(const std::vector<CheckedTimeline>& timelines, CheckContext* context) {
  for (const CheckedTimeline& timeline : timelines) {
    if (!timeline.kept.Contains(kInstantMax)) continue;
    try {
      // Both from one state: nothing may be under way between the two.
      const auto open = OpenTimeline(timeline.id);
      std::optional<std::unique_lock<std::mutex>> hold;
      if (open) hold.emplace(open->LockForUpkeep());
      const auto covered = index_->FindCovered(timeline.id);
      if (!covered) continue;
      const InodeTotalsCursor cursor(index_.get(), ChainOf(timeline, kInstantMax));
      hold.reset();
      const Totals counted = cursor.Count();
      if (counted == covered->totals) continue;
      context->Add({HurtKind::kTotals, timeline.volumes, "", 0, 0, context->until, kInstantMax,
                    "timeline " + std::to_string(timeline.id) + " is said to hold " +
                        std::to_string(covered->totals.inodes) + " inodes and " +
                        std::to_string(covered->totals.bytes) + " bytes, and holds " +
                        std::to_string(counted.inodes) + " and " + std::to_string(counted.bytes),
                    false});
    } catch (const Refused&) {
      // What cannot be read is reported already.
    }
  }
}

}  // namespace rw
