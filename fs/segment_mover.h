// Empties segments: copies what is still referred to into segments for moved data, and changes the
// references, at whatever instants and in whatever timelines they are. The instants stay.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/move_watch.h"
#include "fs/moved_data.h"
#include "fs/view_volume.h"

namespace rw {

// For one run. Nothing else may rewrite versions of chunks meanwhile; volumes may be read and
// written.
class SegmentMover {
 public:
  using FindHome = std::function<TimelineId(TimelineId)>;
  using OpenVolumes = std::function<std::vector<std::shared_ptr<ViewVolume>>()>;

  // `find_home` gives the timeline whose moved data a timeline's are to be (its own, unless it was
  // absorbed), `open_volumes` all heads that are open.
  SegmentMover(const StoreContext& context, MovedData* moved_data,
               const std::set<MoveWatch::SegmentKey>& victims, FindHome find_home,
               OpenVolumes open_volumes);
  ~SegmentMover();
  SegmentMover(const SegmentMover&) = delete;
  SegmentMover& operator=(const SegmentMover&) = delete;

  // True when nothing in the index refers to the victims any more, but for the damaged ones, and
  // nothing ever will. Both callbacks are for the pace; `go_on` ends it early by false. What was
  // moved until then stays moved. Throws Refused(EIO, ENOSPC).
  bool Run(const std::function<bool()>& go_on, const std::function<void(uint64_t)>& copied);

  uint64_t moved_bytes() const { return moved_bytes_; }
  // Victims of which something could not be read: they have to stay.
  std::set<MoveWatch::SegmentKey> damaged() const;
  // Where data went. These segments are held, from their first reference on and until an instant
  // that is not known yet: until all references are moved, what the range's first instant sees may
  // still be the old place where a version within the range names the new one.
  const std::set<MoveWatch::SegmentKey>& held() const { return held_; }

 private:
  struct Place {
    TimelineId timeline = 0;
    uint32_t segment = 0;
    uint32_t position = 0;
  };
  struct Victim {
    MoveWatch::SegmentKey key;
    bool damaged = false;
    std::unordered_map<uint32_t, Place> moved;  // where its frames are now, by their positions
  };

  // A frame of a victim that somebody refers to.
  struct Frame {
    Extent extent;  // that shows it
    uint32_t number = 0;
    Victim* victim = nullptr;
    uint32_t position() const;
    uint32_t bytes() const;
  };

  bool MoveAll(const std::function<bool()>& go_on, const std::function<void(uint64_t)>& copied);
  Victim* FindVictim(const Extent& extent);  // null if it lies in none
  // The same, if what the extent refers to goes to another place.
  Victim* FindSoundVictim(const Extent& extent);
  bool RefersToVictim(std::string_view version, TimelineId own);
  // Moves what one version of a chunk refers to; returns the bytes copied. The version itself is
  // changed by the next Flush.
  uint64_t MoveChunk(const MoveWatch::ChunkKey& key, ChunkVersion version);
  bool IsBroughtBack(const MoveWatch::ChunkKey& key, const ChunkVersion& version);
  std::vector<Frame> FramesToCopy(const ChunkVersion& version);
  void CopyFrames(const MoveWatch::ChunkKey& key, std::span<const Frame> frames);
  void ReadFrames(std::span<const Frame> frames, std::vector<char>* data,
                  std::vector<Frame>* sound);
  void Redirect(const Extent& extent, const Victim& victim, std::vector<Extent>* out) const;
  void Put(const MoveWatch::ChunkKey& key, const ChunkVersion& version, bool brought_back);
  void Flush();
  void WaitForOperations();

  StoreContext context_;
  MovedData* moved_data_;
  std::vector<Victim> victims_;  // in the order of their keys
  FindHome find_home_;
  OpenVolumes open_volumes_;
  std::set<MoveWatch::SegmentKey> written_;  // where frames of the victims are now
  std::set<MoveWatch::SegmentKey> held_;     // of these
  // Whether versions of a timeline's chunks may refer to a victim although its range's first
  // instant does not see what they refer to.
  std::map<std::pair<TimelineId, MoveWatch::SegmentKey>, bool> brought_back_;
  uint64_t moved_bytes_ = 0;

  // Versions that are to be changed together, and whose chunks they are.
  Index::Entries batch_;
  size_t batch_bytes_ = 0;
  std::vector<std::pair<Ino, uint64_t>> batch_chunks_;
};

}  // namespace rw
