// The catalog of volumes and timelines, in memory, and its log: the control journal (timeline 0).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/timeline.h"
#include "metadata/catalog.h"
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

  const VolumeRecord* Find(const std::string& name) const;
  const VolumeRecord& Need(const std::string& name) const;  // throws Refused(ENOENT)

  // Several changes at once: all of them or none; durable when it returns.
  struct Change {
    std::vector<VolumeRecord> put_volumes;
    std::vector<std::string> end_volumes;
    std::vector<TimelineRecord> put_timelines;
    std::vector<TimelineId> end_timelines;
    std::vector<Mark> put_marks;
    std::vector<Mark> end_marks;
  };
  void Commit(const Change& change);
  // The last Commit failed, but may take effect all the same.
  bool uncertain() const { return uncertain_; }

  // The links of `timeline` read at `at`. Links that show nothing of their own are left out.
  std::vector<View::Link> Chain(TimelineId timeline, Instant at) const;
  // Timelines, not yet dropped, that nobody needs when the volume `without` is gone: no other
  // volume, and no view that is open on a timeline in `open`.
  std::vector<TimelineId> Unneeded(const std::string& without,
                                   const std::multiset<TimelineId>& open) const;

  void Sync() { control_->Sync(); }

 private:
  void Load();

  StoreContext context_;
  std::unique_ptr<Timeline> control_;
  std::map<std::string, VolumeRecord> volumes_;
  std::map<TimelineId, TimelineRecord> timelines_;
  std::map<VolumeId, std::map<std::string, Mark>> marks_;
  bool uncertain_ = false;
  VolumeId next_volume_ = 1;
  TimelineId next_timeline_ = 1;
};

}  // namespace rw
