// Sweeping an index: every kept instant is the same before, between any two of its writes, and
// after; nothing else is left; and what kept instants refer to is known.
#include "metadata/sweep.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cinttypes>
#include <map>
#include <random>
#include <set>

#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

constexpr TimelineId kOld = 1, kNew = 2;  // the second is forked from the first
constexpr Ino kDirectory = 1;
constexpr uint64_t kChunks = 3, kNames = 40, kXattrs = 3, kPieces = 32;
constexpr uint32_t kPieceBytes = kChunkBytes / kPieces;
constexpr uint64_t kOperationsPerSegment = 16, kSegmentBytes = kOperationsPerSegment * 8192;

// Passes on to a real one, and has somebody look after each rewriting.
class WatchedIndex : public Index {
 public:
  WatchedIndex(std::unique_ptr<Index> index, std::function<void()> look)
      : index_(std::move(index)), look_(std::move(look)) {
    name_seed_ = index_->name_seed();
  }
  void Commit(TimelineId timeline, Instant at, const Mutations& mutations, const Covered& covered,
              uint32_t bytes, const std::optional<Sample>& sample) override {
    index_->Commit(timeline, at, mutations, covered, bytes, sample);
  }
  std::optional<std::string> Get(std::string_view key) override { return index_->Get(key); }
  std::optional<Version> FindVersion(std::string prefix, Instant at) override {
    return index_->FindVersion(std::move(prefix), at);
  }
  std::unique_ptr<Cursor> NewCursor(std::string prefix, Purpose purpose) override {
    return index_->NewCursor(std::move(prefix), purpose);
  }
  Ino LastIno(TimelineId timeline) override { return index_->LastIno(timeline); }
  void Rewrite(const Entries& entries) override {
    index_->Rewrite(entries);
    ++rewrites;
    look_();
  }
  void DropTimeline(TimelineId timeline) override { index_->DropTimeline(timeline); }
  void Flush() override { index_->Flush(); }
  uint64_t LastSequence() override { return index_->LastSequence(); }
  void MarkLost(const std::string& from, const std::string& to) override {
    index_->MarkLost(from, to);
  }
  const LostRanges& lost() const override { return index_->lost(); }

  int rewrites = 0;

 private:
  std::unique_ptr<Index> index_;
  std::function<void()> look_;
};

class SweepTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  SweepTest() : random_(GetParam()) {
    std::printf("REWIND_SEED=%" PRIu64 "\n", GetParam());
    index_ =
        std::make_unique<WatchedIndex>(Index::Open({temp_.path() / "index", 7, {}, {}, {}, {}}),
                                       [this] { ExpectKeptUnchanged(); });
  }

  std::vector<View::Link> ChainAt(TimelineId timeline, Instant at) const {
    if (timeline == kOld) return {{kOld, at, 1}};
    return {{kNew, at, first_new_ino_}, {kOld, fork_, 1}};
  }

  // --- making history ---

  Instant Next() { return Instant{now_.ns += 1 + random_.Below(3)}; }
  void Commit(TimelineId timeline, Instant at, const Mutations& mutations) {
    index_->Commit(timeline, at, mutations, {}, 0, std::nullopt);
  }
  Extent Stored(TimelineId timeline, Instant at, uint32_t piece) {
    const auto operation = static_cast<uint32_t>(operations_);
    const uint32_t segment = 1 + operation / kOperationsPerSegment;
    segment_ends_[{timeline, segment}] = at;
    Extent extent;
    extent.offset = piece * kPieceBytes;
    extent.length = kPieceBytes;
    extent.timeline = timeline;
    extent.segment = segment;
    extent.frame_position = 64 + operation % kOperationsPerSegment * 8192;
    return extent;
  }
  Inode NewInode() {
    Inode inode;
    inode.mode = S_IFREG | 0644;
    inode.nlink = 1;
    return inode;
  }

  void Create(TimelineId timeline) {
    Mutations m;
    const Instant at = Next();
    files_[next_ino_] = NewInode();
    m.inodes.push_back({next_ino_, files_[next_ino_]});
    ++next_ino_;
    Commit(timeline, at, m);
  }
  void Write(TimelineId timeline, Ino ino) {
    const Instant at = Next();
    const uint64_t chunk = random_.Below(kChunks);
    ChunkMap map =
        View(index_.get(), ChainAt(timeline, kInstantMax)).FindChunk(ino, chunk, files_[ino].cuts);
    Extent extent = Stored(timeline, at, static_cast<uint32_t>(random_.Below(kPieces)));
    if (random_.Below(8) == 0) extent.segment = Extent::kHole;
    map.Put(extent);
    ChunkMutation chunk_mutation{ino, chunk, {}};
    const auto own = index_->FindVersion(ChunkPrefix(timeline, ino, chunk), kInstantMax);
    chunk_mutation.version.full = !own || random_.Below(12) == 0;
    chunk_mutation.version.extents =
        chunk_mutation.version.full ? map.extents() : std::vector<Extent>{extent};
    files_[ino].size = std::max(files_[ino].size, chunk * kChunkBytes + extent.end());
    Mutations m;
    m.inodes.push_back({ino, files_[ino]});
    m.chunks.push_back(std::move(chunk_mutation));
    Commit(timeline, at, m);
  }
  void Truncate(TimelineId timeline, Ino ino) {
    Inode& inode = files_[ino];
    const uint64_t size = random_.Below(kChunks * kPieces) * kPieceBytes + random_.Below(2) * 100;
    const Instant at = Next();
    std::erase_if(inode.cuts, [size](const Cut& cut) { return cut.size >= size; });
    if (inode.cuts.size() == Inode::kMaxCuts) return;
    inode.cuts.push_back({size, at});
    inode.size = size;
    Mutations m;
    m.inodes.push_back({ino, inode});
    Commit(timeline, at, m);
  }
  void ChangeXattr(TimelineId timeline, Ino ino) {
    const Instant at = Next();
    Mutations m;
    m.inodes.push_back({ino, files_[ino]});
    std::optional<std::string> value;
    if (random_.Below(3) != 0) value = std::to_string(at.ns);
    m.xattrs.push_back({ino, "user." + std::to_string(random_.Below(kXattrs)), value});
    Commit(timeline, at, m);
  }
  void ChangeName(TimelineId timeline) {
    Mutations m;
    const std::string name = "name " + std::to_string(random_.Below(kNames));
    const Ino ino = random_.Below(3) == 0 ? 0 : 1 + random_.Below(next_ino_);
    m.names.push_back({kDirectory, name, ino, S_IFREG});
    Commit(timeline, Next(), m);
  }
  void End(TimelineId timeline, Ino ino) {
    Mutations m;
    m.inodes.push_back({ino, std::nullopt});
    Commit(timeline, Next(), m);
    files_.erase(ino);
  }
  void DoSomething(TimelineId timeline) {
    ++operations_;
    const uint64_t what = random_.Below(100);
    if (files_.empty() || what < 2) return Create(timeline);
    const Ino ino =
        std::next(files_.begin(), static_cast<long>(random_.Below(files_.size())))->first;
    if (what < 70) return Write(timeline, ino);
    if (what < 75) return Truncate(timeline, ino);
    if (what < 85) return ChangeXattr(timeline, ino);
    if (what < 99) return ChangeName(timeline);
    End(timeline, ino);
  }

  // --- what is kept, and what it shows ---

  void KeepSome(TimelineId timeline, Instant from, Instant to) {
    KeptInstants& kept = kept_[timeline];
    const uint64_t length = to.ns - from.ns;
    for (uint64_t count = random_.Below(12); count > 0; --count)
      kept.AddPoint(Instant{from.ns + random_.Below(length)});
    if (timeline == kOld) kept.AddPoint(fork_);
    if (random_.Below(3) != 0) kept.AddRange(Instant{from.ns + random_.Below(length)}, to);
    kept.Finish();
  }
  // Of a range, its first instant, and some others.
  std::vector<Instant> LookedAt(TimelineId timeline) {
    const KeptInstants& kept = kept_.at(timeline);
    std::vector<Instant> instants = kept.points();
    if (kept.range_from() == kInstantMax) return instants;
    for (uint64_t i = 0, step = 0; i < 6; ++i, step += 1 + (now_.ns - kept.range_from().ns) / 6)
      instants.push_back(Instant{kept.range_from().ns + step});
    std::erase_if(instants, [&](Instant at) { return !kept.Contains(at); });
    return instants;
  }
  static std::string Text(const Extent& e) {
    return " " + std::to_string(e.offset) + "+" + std::to_string(e.length) + "@" +
           std::to_string(e.timeline) + "." + std::to_string(e.segment) + "." +
           std::to_string(e.frame_position) + "." + std::to_string(e.skip);
  }
  std::string Show(TimelineId timeline, Instant at, std::vector<Extent>* extents = nullptr) {
    const View view(index_.get(), ChainAt(timeline, at));
    std::string shown;
    for (const ViewName& name : view.ListNames(kDirectory, 0, 1000))
      shown += name.name + " is " + std::to_string(name.ino) + "\n";
    for (Ino ino = 1; ino < next_ino_; ++ino) {
      const auto inode = view.FindInode(ino);
      if (!inode) continue;
      shown += std::to_string(ino) + ": " + inode->Encode(Instant{}) + "\n";
      for (const std::string& name : view.ListXattrs(ino))
        shown += name + "=" + view.FindXattr(ino, name).value() + "\n";
      for (uint64_t chunk = 0; chunk < kChunks; ++chunk) {
        const ChunkMap map = view.FindChunk(ino, chunk, inode->cuts);
        for (const Extent& extent : map.extents()) {
          shown += Text(extent);
          if (extents != nullptr) extents->push_back(extent);
        }
        shown += "\n";
      }
    }
    return shown;
  }
  void ExpectKeptUnchanged() {
    for (const auto& [place, shown] : expected_)
      ASSERT_EQ(Show(place.first, place.second), shown)
          << "timeline " << place.first << " at " << place.second.ns << " after "
          << index_->rewrites << " rewritings";
  }
  void ExpectNothingElseIsLeft() {
    for (const KeyType type : {KeyType::kChunk, KeyType::kXattr, KeyType::kName, KeyType::kInode}) {
      const auto cursor =
          index_->NewCursor(std::string(1, static_cast<char>(type)), Index::Purpose::kLookup);
      std::string prefix;
      Instant newer;
      for (cursor->Seek(std::string(1, static_cast<char>(type))); cursor->Valid(); cursor->Next()) {
        const std::string_view key = cursor->key();
        if (key.substr(0, key.size() - kInstantBytes) != prefix) newer = kInstantMax;
        prefix = key.substr(0, key.size() - kInstantBytes);
        const auto timeline = static_cast<TimelineId>(static_cast<uint8_t>(key[4]));
        EXPECT_TRUE(kept_.at(timeline).FirstIn(rw::InstantOf(key), newer))
            << static_cast<char>(type) << " " << timeline << " " << rw::InstantOf(key).ns;
        newer = rw::InstantOf(key);
      }
    }
  }

  testing::TempDir temp_;
  testing::Random random_;
  std::unique_ptr<WatchedIndex> index_;
  Instant now_{1000}, fork_;
  Ino next_ino_ = 2, first_new_ino_ = 0;
  uint64_t operations_ = 0;
  std::map<Ino, Inode> files_;  // of the timeline that is written
  std::map<TimelineId, KeptInstants> kept_;
  std::map<std::pair<TimelineId, uint32_t>, Instant> segment_ends_;
  std::map<std::pair<TimelineId, Instant>, std::string> expected_;
};

// Goal: whatever is kept, a sweep changes nothing of it at any moment, leaves nothing else, and
// knows every segment that something kept refers to. Method: random operations on two timelines,
// one forked from the other; random instants are kept; all of them are read after each write that
// the sweep makes to the index.
TEST_P(SweepTest, KeepsExactlyWhatIsKept) {
  for (int i = 0; i < 10'000; ++i) DoSomething(kOld);
  fork_ = now_;
  first_new_ino_ = next_ino_;
  for (int i = 0; i < 10'000; ++i) DoSomething(kNew);
  KeepSome(kOld, Instant{1000}, fork_);
  KeepSome(kNew, fork_, now_);
  std::map<TimelineId, Sweep::Timeline> timelines = {
      {kOld, {1, false, &kept_.at(kOld)}}, {kNew, {first_new_ino_, true, &kept_.at(kNew)}}};
  std::set<std::pair<TimelineId, uint32_t>> needed;
  for (const auto& [timeline, kept] : kept_) {
    for (const Instant at : LookedAt(timeline)) {
      std::vector<Extent> extents;
      expected_[{timeline, at}] = Show(timeline, at, &extents);
      for (const Extent& extent : extents) needed.insert({extent.timeline, extent.segment});
    }
  }

  LiveMap live;
  for (const auto& [segment, end] : segment_ends_) {
    if (end <= kept_.at(segment.first).range_from())
      live.Watch(segment.first, segment.second, kSegmentBytes + 8192);
  }
  Sweep::Options options;
  Sweep sweep(index_.get(), timelines, &live, options);
  ASSERT_TRUE(sweep.Run());
  if (HasFatalFailure()) return;
  EXPECT_GT(index_->rewrites, 1);
  ExpectNothingElseIsLeft();
  size_t dead = 0;
  for (const auto& [segment, end] : segment_ends_) {
    if (end > kept_.at(segment.first).range_from()) continue;
    const bool marked = live.LiveBytes(segment.first, segment.second) > 0;
    EXPECT_EQ(marked, needed.contains(segment)) << segment.first << "." << segment.second;
    dead += !marked;
  }
  std::printf("%zu kept instants looked at, %d rewritings, %zu segments dead\n", expected_.size(),
              index_->rewrites, dead);
  // What could be told only once other things were gone; then there is nothing left to do.
  uint64_t dropped = 1;
  for (int run = 0; run < 3 && dropped > 0; ++run) {
    LiveMap ignored;
    Sweep next(index_.get(), timelines, &ignored, {});
    ASSERT_TRUE(next.Run());
    dropped = next.counts().dropped;
  }
  EXPECT_EQ(dropped, 0u);
}

TEST(LiveMapTest, PartsThatAreNearCountAsOne) {
  constexpr uint64_t kStep = LiveMap::kStepBytes;
  constexpr size_t kSteps = 200;
  testing::Random random(testing::NumberFromEnvironment("REWIND_SEED", 1));
  for (int round = 0; round < 200; ++round) {
    LiveMap live;
    live.Watch(1, 1, kSteps * kStep);
    std::vector<bool> marked(kSteps);
    for (uint64_t i = random.Below(60); i > 0; --i) {
      const auto step = static_cast<uint32_t>(random.Below(kSteps));
      marked[step] = true;
      Extent extent{};
      extent.timeline = extent.segment = 1;
      extent.frame_position = static_cast<uint32_t>(step * kStep);
      extent.length = 100;
      live.Mark(extent);
    }
    const uint64_t gap = random.Below(6) * kStep;
    std::vector<bool> told(kSteps);
    uint64_t last_end = 0;
    live.ForEachLive(1, 1, gap, [&](uint64_t offset, uint64_t bytes) {
      EXPECT_TRUE(last_end == 0 || offset - last_end >= std::max(gap, kStep));
      last_end = offset + bytes;
      EXPECT_TRUE(marked[offset / kStep] && marked[last_end / kStep - 1]);
      for (uint64_t at = offset; at < last_end; at += kStep) told[at / kStep] = true;
    });
    for (size_t step = 0; step < kSteps; ++step) {
      EXPECT_TRUE(told[step] || !marked[step]) << step;
    }
  }
}

std::vector<uint64_t> Seeds() {
  std::vector<uint64_t> seeds = {1, 2, 3, 4};
  seeds.push_back(testing::NumberFromEnvironment("REWIND_SEED", std::random_device{}()));
  return seeds;
}
INSTANTIATE_TEST_SUITE_P(Seeds, SweepTest, ::testing::ValuesIn(Seeds()));

}  // namespace
}  // namespace rw
