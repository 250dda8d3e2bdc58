// Erases what a path held from all of history. See fs/README.md, "Forgetting".
#include <errno.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/erased_frame.h"
#include "fs/past.h"
#include "fs/path_history.h"
#include "fs/record_walk.h"
#include "fs/store_impl.h"
#include "metadata/coding.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// The frames of one record: all of its data.
struct DataOfRecord {
  uint32_t first_frame = 0;
  uint32_t data_bytes = 0;
  bool ours = false;        // of an inode that is to be forgotten
  bool referenced = false;  // by anything that stays
  uint64_t end() const { return first_frame + FramedBytes(data_bytes); }
};

// Throws Refused(EIO) for one that is damaged, and for a moved segment that was just begun.
SegmentHeader HeaderOf(File* file) {
  std::string bytes(kSegmentHeaderBytes, '\0');
  bytes.resize(file->ReadAt(bytes, 0));
  const auto header = SegmentHeader::Decode(bytes);
  if (!header) throw Refused(EIO, "a segment's header is damaged; see rewind check");
  return *header;
}

void ZeroEnd(FileLayer* files, const std::filesystem::path& segment) {
  uint64_t end = 0;
  const auto file = files->Open(segment, FileLayer::Mode::kReadWrite);
  if (!HasZeroHeader(files, segment))
    end = WalkRecords(file.get(), HeaderOf(file.get()).generation, [](const auto&) {}).end;
  const uint64_t size = file->Size();
  if (size <= end) return;
  file->Zero(end, size - end);
  file->SyncData();
}

using InodeKey = std::pair<TimelineId, Ino>;
using SegmentKey = std::pair<TimelineId, uint32_t>;

}  // namespace

// One request: which inodes, where their data are, and who else has them.
class StoreImpl::Forgetting {
 public:
  Forgetting(StoreImpl* store, const ProgressSink& progress)
      : store_(*store), progress_(progress) {}

  void AddPath(const std::string& name, const std::string& path) {
    const auto past = store_.OpenPast(name);
    bool directory = false;
    PathWalk walk(*past, SplitPath(path), kInstantMax);
    while (const auto state = walk.Next()) {
      if (!state->present()) continue;
      if (state->inode.is_dir()) directory = true;
      if (state->inode.is_regular()) AddInode(state->span->chain, state->ino);
    }
    if (inodes_.empty() && directory)
      throw Refused(EISDIR, Quoted(path) + " was a directory; name the files in it");
    for (const Past::Span& span : past->spans()) {
      for (const View::Link& link : span.chain) timelines_.insert(link.timeline);
    }
  }

  bool FoundAny() const { return !inodes_.empty(); }

  void RefuseIfAlive() const {
    const std::lock_guard lock(store_.catalog_mutex_);
    for (const auto& [name, record] : store_.catalog_->volumes()) {
      if (!record.writable()) continue;
      const auto chain = store_.catalog_->Chain(record.timeline(), kInstantMax);
      const View head(store_.index_.get(), chain);
      for (const auto& [timeline, ino] : inodes_) {
        if (!Knows(chain, timeline, ino)) continue;
        const std::optional<Inode> inode = head.FindInode(ino);
        // Of one that nobody has opened, no program can have a removed file open.
        if (!inode || (inode->nlink == 0 && !store_.HeadIsOpen(record.timeline()))) continue;
        throw Refused(EBUSY, "volume " + name + " still has the file" +
                                 (inode->nlink == 0 ? ", removed but open in a program"
                                                    : " (inode " + std::to_string(ino) + ")") +
                                 "; remove it there first");
      }
    }
  }

  // Where the data of the inodes are, also those that nothing refers to any more, and all others in
  // the same timelines.
  void FindData() {
    records_.clear();
    damaged_places_ = 0;
    for (const auto& [timeline, ino] : inodes_) timelines_.insert(timeline);
    std::vector<SegmentKey> segments;
    for (const TimelineId timeline : timelines_) {
      const auto directory = store_.segments_->TimelineDirectory(timeline);
      std::vector<uint32_t> numbers = ListSegments(store_.files_, directory);
      // The others were begun since all were sealed.
      if (const auto end = written_.find(timeline); end != written_.end())
        std::erase_if(numbers, [&](uint32_t number) { return number >= end->second; });
      const std::vector<uint32_t> moved = ListMovedSegments(store_.files_, directory);
      numbers.insert(numbers.end(), moved.begin(), moved.end());
      for (const uint32_t number : numbers) segments.emplace_back(timeline, number);
    }
    for (size_t i = 0; i < segments.size(); ++i) {
      Tell("looking through segments", i, segments.size());
      FindDataIn(segments[i].first, segments[i].second);
    }
  }

  // The segments from these on are being written.
  void SetWritten(std::map<TimelineId, uint32_t> written) { written_ = std::move(written); }

  // Marks what is referred to; returns the other inodes that refer to what is to be forgotten.
  std::set<InodeKey> FindReferences() {
    constexpr uint64_t kBetweenTelling = 4096;
    std::set<InodeKey> sharers;
    uint64_t seen = 0;
    const std::string all(1, static_cast<char>(KeyType::kChunk));
    const auto cursor = store_.index_->NewCursor(all, Index::Purpose::kScan);
    for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
      if (seen++ % kBetweenTelling == 0) Tell("looking for who shares it", seen, 0);
      const ChunkVersionKey key = SplitChunkKey(cursor->key());
      if (inodes_.contains({key.timeline, key.ino})) continue;
      for (const Extent& extent : ChunkVersion::Decode(cursor->value(), key.timeline).extents) {
        if (!extent.hole() && MarkReferenced(extent)) sharers.insert({key.timeline, key.ino});
      }
    }
    return sharers;
  }

  void AddSharers(const std::set<InodeKey>& sharers) {
    for (const auto& [timeline, ino] : sharers) {
      std::vector<View::Link> chain;
      {
        const std::lock_guard lock(store_.catalog_mutex_);
        chain = store_.catalog_->Chain(timeline, kInstantMax);
      }
      AddInode(chain, ino);
    }
  }

  ForgetReport Erase() const {
    ForgetReport report;
    std::set<Ino> numbers;
    for (const auto& [timeline, ino] : inodes_) numbers.insert(ino);
    report.inodes.assign(numbers.begin(), numbers.end());
    report.damaged_places = damaged_places_;
    uint64_t done = 0;
    for (const auto& [key, records] : records_) {
      Tell("erasing in segments", done++, records_.size());
      EraseIn(key, records);
      uint64_t bytes = 0;
      for (const DataOfRecord& record : records) bytes += record.ours ? record.data_bytes : 0;
      report.bytes += bytes;
      report.segments += bytes > 0;
    }
    return report;
  }

 private:
  void Tell(const char* step, uint64_t done, uint64_t total) const {
    if (progress_) progress_(step, done, total);
  }

  static bool Knows(const std::vector<View::Link>& chain, TimelineId timeline, Ino ino) {
    for (const View::Link& link : chain) {
      if (link.timeline == timeline) return true;
      if (ino >= link.first_ino) return false;
    }
    return false;
  }

  // The inode in all timelines that may have something of it: those of the chain, those that were
  // forked from them after it was made, and those whose keys have become theirs.
  void AddInode(const std::vector<View::Link>& chain, Ino ino) {
    for (const View::Link& link : chain) {
      inodes_.insert({link.timeline, ino});
      if (ino >= link.first_ino) break;
    }
    const std::lock_guard lock(store_.catalog_mutex_);
    const auto& timelines = store_.catalog_->timelines();
    for (bool more = true; more;) {
      more = false;
      for (const auto& [id, record] : timelines) {
        const bool forked =
            record.parent && ino < record.first_ino && inodes_.contains({*record.parent, ino});
        const bool absorbed = record.absorbed_by && inodes_.contains({*record.absorbed_by, ino});
        if ((forked || absorbed) && inodes_.insert({id, ino}).second) more = true;
      }
    }
  }

  void FindDataIn(TimelineId timeline, uint32_t number) {
    const auto path = store_.segments_->TimelineDirectory(timeline) / SegmentFileName(number);
    if (HasZeroHeader(store_.files_, path)) return;  // nothing was written to it
    const auto file = store_.files_->Open(path, FileLayer::Mode::kRead);
    const SegmentHeader header = HeaderOf(file.get());
    std::vector<DataOfRecord> found;
    const auto look = [&](const WalkedRecord& record) {
      if (record.header.data_bytes > 0)
        found.push_back(
            {record.first_frame(), record.header.data_bytes, IsOurs(timeline, record), false});
    };
    damaged_places_ += WalkRecords(file.get(), header.generation, look).gaps;
    if (!found.empty()) records_[{timeline, number}] = std::move(found);
  }

  bool IsOurs(TimelineId timeline, const WalkedRecord& record) const {
    const Mutations mutations =
        RecordBody::Decode(record.body, record.header.instant, timeline).mutations;
    // Moved, or copied by a restore, also by one that did not come to its end.
    if (mutations.owner && inodes_.contains({mutations.owner->timeline, mutations.owner->ino}))
      return true;
    return std::any_of(mutations.chunks.begin(), mutations.chunks.end(), [&](const auto& chunk) {
      return inodes_.contains({timeline, chunk.ino});
    });
  }

  // True if what the extent refers to is to be forgotten.
  bool MarkReferenced(const Extent& extent) {
    const auto found = records_.find({extent.timeline, extent.segment});
    if (found == records_.end()) return false;
    const uint64_t from = extent.frame_position;
    const uint64_t to = from + FramedBytes(uint64_t{extent.skip} + extent.length + extent.tail);
    bool ours = false;
    auto record = std::upper_bound(
        found->second.begin(), found->second.end(), from,
        [](uint64_t at, const DataOfRecord& candidate) { return at < candidate.end(); });
    for (; record != found->second.end() && record->first_frame < to; ++record) {
      record->referenced = true;
      ours = ours || record->ours;
    }
    return ours;
  }

  // In place: nobody reads these frames but who asks for what is to be forgotten, and recovery
  // begins behind them. What nothing refers to goes, too: it may be what the path led to before the
  // history that is kept.
  void EraseIn(const SegmentKey& key, const std::vector<DataOfRecord>& records) const {
    const auto path = store_.segments_->TimelineDirectory(key.first) / SegmentFileName(key.second);
    const auto file = store_.files_->Open(path, FileLayer::Mode::kReadWrite);
    const SegmentHeader header = HeaderOf(file.get());
    for (const DataOfRecord& record : records) {
      if (!record.ours && record.referenced) continue;
      std::string frames;
      for (uint32_t done = 0; done < record.data_bytes;) {
        const uint32_t length = std::min(kFrameDataBytes, record.data_bytes - done);
        const auto position = static_cast<uint32_t>(record.first_frame + frames.size());
        PutFixed<uint32_t>(&frames, ErasedFrameChecksum(length, header.generation, position));
        frames.append(length, '\0');
        done += length;
      }
      const iovec part{frames.data(), frames.size()};
      file->WriteAt({&part, 1}, record.first_frame);
    }
    file->SyncData();
  }

  StoreImpl& store_;
  const ProgressSink& progress_;
  std::set<TimelineId> timelines_;  // to look at
  std::set<InodeKey> inodes_;
  std::map<TimelineId, uint32_t> written_;
  std::map<SegmentKey, std::vector<DataOfRecord>> records_;  // in order of their places
  uint64_t damaged_places_ = 0;
};

// What lies in segments that are written now is erased after they were sealed: the bytes of their
// last page are written again with each record. Returns those that are written from now on.
std::map<TimelineId, uint32_t> StoreImpl::SealAllSegments() {
  std::vector<std::shared_ptr<Timeline>> timelines;
  {
    const std::lock_guard lock(heads_mutex_);
    for (const auto& [id, head] : heads_) {
      if (head.timeline) timelines.push_back(head.timeline);
    }
  }
  std::map<TimelineId, uint32_t> begun;
  for (const auto& timeline : timelines) {
    timeline->BeginSegment();
    begun[timeline->record().id] = timeline->end().segment;
  }
  moved_data_->End();
  SyncAll();
  index_->Flush();
  return begun;
}

// A file that is used again holds behind its records what it held before. Most are cut there when
// they are sealed; these are those that a crash has left, and the last ones of timelines that no
// volume is bound to. Nobody writes them.
void StoreImpl::ZeroUnsealedEnds() {
  const std::lock_guard lock(catalog_mutex_);
  std::set<TimelineId> heads;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (record.writable()) heads.insert(record.timeline());
  }
  for (const auto& [id, record] : catalog_->timelines()) {
    const auto directory = segments_->TimelineDirectory(id);
    std::vector<uint32_t> numbers = ListMovedSegments(files_, directory);
    const std::vector<uint32_t> journal = ListSegments(files_, directory);
    if (!journal.empty() && !heads.contains(id) && !HeadIsOpen(id))
      numbers.push_back(journal.back());
    for (const uint32_t number : numbers) ZeroEnd(files_, directory / SegmentFileName(number));
  }
}

ForgetReport StoreImpl::ForgetPath(const std::string& name, const std::string& path, bool copies,
                                   const ProgressSink& progress) {
  if (progress) progress("collecting what is no longer kept", 0, 0);
  Collect();  // what is no longer kept is not looked for by path
  // Nothing is moved and nothing freed meanwhile.
  const Collector::Pause pause(*collector_);
  Forgetting forgetting(this, progress);
  forgetting.AddPath(name, path);
  forgetting.RefuseIfAlive();
  pool_->Limit(0);
  std::vector<std::shared_ptr<Volume>> open;  // so that none is opened, or closed, in the middle
  for (const VolumeRecord& record : List()) {
    if (record.writable()) open.push_back(OpenVolume(record.name));
  }
  forgetting.SetWritten(SealAllSegments());
  ZeroUnsealedEnds();
  forgetting.FindData();
  for (std::set<std::pair<TimelineId, Ino>> sharers;
       !(sharers = forgetting.FindReferences()).empty();) {
    if (!copies) {
      throw Refused(EBUSY, "other files share its bytes, as cp and restores make them (inode " +
                               std::to_string(sharers.begin()->second) +
                               (sharers.size() > 1 ? " and others" : "") +
                               "; of a restore that was given up, no path leads to it); to erase "
                               "what they held, too, say --copies");
    }
    forgetting.AddSharers(sharers);
    forgetting.RefuseIfAlive();
    forgetting.FindData();
  }
  ForgetReport report = forgetting.Erase();
  LimitPool();
  if (!forgetting.FoundAny()) {
    throw Refused(ENOENT, "no file was at " + Quoted(path) + " of volume " + name +
                              " as far back as its history is kept; what no history shows any "
                              "more was erased");
  }
  spdlog::info("{} of volume {} was forgotten: {} bytes in {} segments", Quoted(path), name,
               report.bytes, report.segments);
  return report;
}

}  // namespace rw
