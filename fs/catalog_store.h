// The catalog of volumes and timelines, in memory, and its log: the control journal (timeline 0).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/catalog_copy.h"
#include "fs/timeline.h"
#include "metadata/catalog.h"
#include "metadata/kept.h"
#include "metadata/view.h"

namespace rw {

inline constexpr TimelineId kControlTimeline = 0;

// Not thread-safe: the store's catalog mutex guards it.
class CatalogStore {
 public:
  // Recovers the control journal.
  CatalogStore(const StoreContext& context, bool clean);

  const std::map<std::string, VolumeRecord>& volumes() const { return volumes_; }
  const std::map<TimelineId, TimelineRecord>& timelines() const { return timelines_; }
  VolumeId NextVolumeId() const { return next_volume_; }
  TimelineId NextTimelineId() const { return next_timeline_; }

  // The marks of a volume, by label.
  const std::map<std::string, Mark>& Marks(VolumeId volume) const;

  // Volumes that were removed and whose history is still there, oldest first.
  const std::map<VolumeId, VolumeRecord>& removed() const { return removed_; }

  // Null if there is none; of removed volumes, FindSource takes the last one of that name.
  const VolumeRecord* FindSource(const std::string& name) const;
  const VolumeRecord& NeedSource(const std::string& name) const;  // throws Refused(ENOENT)
  const VolumeRecord* Find(const std::string& name) const;
  const VolumeRecord& Need(const std::string& name) const;  // throws Refused(ENOENT)

  // Several changes at once: all of them or none; durable when it returns.
  struct Change {
    std::vector<VolumeRecord> put_volumes;
    std::vector<std::string> end_volumes;
    std::vector<VolumeRecord> put_removed;
    std::vector<VolumeId> end_removed;
    std::vector<TimelineRecord> put_timelines;
    std::vector<TimelineId> end_timelines;
    std::vector<Mark> put_marks;
    std::vector<Mark> end_marks;

    bool empty() const {
      return put_volumes.empty() && end_volumes.empty() && put_removed.empty() &&
             end_removed.empty() && put_timelines.empty() && end_timelines.empty() &&
             put_marks.empty() && end_marks.empty();
    }
  };
  void Commit(const Change& change);
  // The last Commit failed, but may take effect all the same.
  bool uncertain() const { return uncertain_; }

  // The links of `timeline` read at `at`. Links that show nothing of their own are left out.
  std::vector<View::Link> Chain(TimelineId timeline, Instant at) const;
  // What is kept of each timeline: of volumes, from their horizons on, their points and their
  // marks; of snapshot volumes, what they show; and what all of these need of older timelines. It
  // is what may be looked at, and what the collector leaves. Valid until the next Commit.
  const std::map<TimelineId, KeptInstants>& Kept() const;
  // The same, but as if `replaced` were what the catalog says of this volume, and with views that
  // are open.
  // `looked_at`, if not null, gets the timelines that are needed for themselves, not only by what
  // was forked from them.
  std::map<TimelineId, KeptInstants> KeptWith(
      const std::vector<std::vector<View::Link>>& open_views,
      const VolumeRecord* replaced = nullptr, std::set<TimelineId>* looked_at = nullptr) const;
  // The timeline that the volume was bound to at `at`; nothing if that is gone.
  static std::optional<TimelineId> BoundAt(const VolumeRecord& record, Instant at);

  Instant last_instant() const { return control_->last_instant(); }  // of the newest change
  // Once it is certain that this is the catalog.
  void BeginCopy();

  void Sync() { control_->Sync(); }
  void NoteDurable() { control_->NoteDurable(); }

  // Adds to `change` that volumes which were bound to these timelines know nothing of then any
  // more.
  void ForgetTimelines(const std::vector<TimelineId>& gone, Change* change) const;

  // Writes all of the catalog as one record and returns the segment that holds it: those before it
  // are needed no more, once the index is flushed.
  uint32_t Rewrite();

 private:
  void Load();
  Change All() const;

  StoreContext context_;
  std::unique_ptr<Timeline> control_;
  CatalogCopy copy_;
  std::map<std::string, VolumeRecord> volumes_;
  std::map<TimelineId, TimelineRecord> timelines_;
  std::map<VolumeId, std::map<std::string, Mark>> marks_;
  std::map<VolumeId, VolumeRecord> removed_;
  mutable std::optional<std::map<TimelineId, KeptInstants>> kept_;  // as the catalog is now
  bool uncertain_ = false;
  VolumeId next_volume_ = 1;
  TimelineId next_timeline_ = 1;
};

}  // namespace rw
