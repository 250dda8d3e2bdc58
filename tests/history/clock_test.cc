// Goal: instants strictly increase over all volumes and restarts, whatever the wall clock does, and
// `at` answers truthfully all the same.
//
// Method: a store with a clock that the test steps back and forth; before and after each step files
// are written, and what was there at each remembered instant is looked up again at the end.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr uint64_t kSecond = ManualClock::kSecond;

class ClockTest : public ::testing::Test {
 protected:
  // What a volume's only file said from an instant on.
  struct Written {
    std::string volume;
    Instant at;
    std::string text;
  };

  ClockTest() { Open(); }
  ~ClockTest() override { volumes_.clear(); }

  void Open() { store_ = Store::Open({dir_.path() / "root", clock_.AsFunction()}); }

  void Restart() {
    volumes_.clear();
    store_.reset();
    Open();
    for (const VolumeRecord& record : store_->List()) {
      volumes_[record.name] = store_->OpenVolume(record.name);
    }
  }

  void Add(const std::string& name) {
    CreateRequest request;
    request.name = name;
    store_->Create(request);
    volumes_[name] = store_->OpenVolume(name);
    const Instant created = store_->Find(name)->created;
    EXPECT_GT(created, newest_) << name;
    newest_ = created;
    const Ino ino = volumes_[name]->Create({}, kRootIno, "file", S_IFREG | 0644).ino;
    inos_[name] = ino;
    See(volumes_[name]->last_instant());
    written_.push_back({name, newest_, ""});
  }

  void Write(const std::string& name) {
    const std::string text = std::to_string(1'000'000 + written_.size());
    volumes_[name]->Write({}, inos_[name], 0, text, false);
    See(volumes_[name]->last_instant());
    written_.push_back({name, newest_, text});
  }

  void See(Instant at) {
    EXPECT_GT(at, newest_) << "the clock says " << clock_.now();
    newest_ = std::max(newest_, at);
  }

  void SeeNow() {
    const Instant now = store_->Now();
    EXPECT_GE(now, newest_) << "the clock says " << clock_.now();
    newest_ = std::max(newest_, now);
  }

  std::string TextAt(const std::string& name, Instant at) {
    auto view = store_->OpenAt(name, at);
    const auto found = view->Lookup(kRootIno, "file");
    if (!found.has_value()) return "no such file";
    std::string text(found->inode.size, '#');
    view->Read(found->ino, 0, text);
    return text;
  }

  // Every text was there from its instant on, until the next of that volume.
  void CheckAll() {
    std::map<std::string, std::string> before;
    for (const Written& written : written_) {
      EXPECT_EQ(TextAt(written.volume, written.at), written.text) << written.at.ns;
      const auto last = before.find(written.volume);
      if (last != before.end()) {
        EXPECT_EQ(TextAt(written.volume, Before(written.at)), last->second) << written.at.ns;
      }
      before[written.volume] = written.text;
    }
  }

  TempDir dir_;
  ManualClock clock_;
  std::unique_ptr<Store> store_;
  std::map<std::string, std::shared_ptr<Volume>> volumes_;
  std::map<std::string, Ino> inos_;
  std::vector<Written> written_;
  Instant newest_;
};

TEST_F(ClockTest, FollowsTheWallClockWhenItIsAhead) {
  Add("a");
  clock_.Forward(3600 * kSecond);
  Write("a");
  EXPECT_GE(newest_.ns, clock_.now());
  EXPECT_LT(newest_.ns, clock_.now() + kSecond);
}

TEST_F(ClockTest, InstantsIncreaseWhileTheClockStandsStill) {
  Add("a");
  Add("b");
  for (int i = 0; i < 500; ++i) {
    Write(i % 2 == 0 ? "a" : "b");
    SeeNow();
  }
  CheckAll();
}

TEST_F(ClockTest, InstantsIncreaseOverStepsBackAndForth) {
  Add("a");
  Add("b");
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 7);
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (int i = 0; i < 400; ++i) {
    const uint64_t step = random.Below(random.OneIn(4) ? 86'400 * kSecond : 1000);
    random.OneIn(2) ? clock_.Forward(step) : clock_.Back(step);
    Write(random.OneIn(2) ? "a" : "b");
    if (random.OneIn(3)) SeeNow();
    if (random.OneIn(40)) Restart();
    if (random.OneIn(100)) Add("more-" + std::to_string(i));
  }
  CheckAll();
}

TEST_F(ClockTest, NowIsHonouredAcrossARestartWithTheClockSteppedBack) {
  Add("a");
  Write("a");
  clock_.Forward(1000 * kSecond);
  const Instant now = store_->Now();
  clock_.Back(5000 * kSecond);
  Restart();
  EXPECT_GT(store_->Now(), now);
  Write("a");
  EXPECT_GT(newest_, now);
  EXPECT_EQ(TextAt("a", now), written_[1].text);  // what was there when Now was asked
  CheckAll();
}

// A copy of the files of a store that is running is what a killed process leaves behind.
TEST_F(ClockTest, NowIsHonouredAfterACrashWithTheClockSteppedBack) {
  Add("a");
  Write("a");
  clock_.Forward(1000 * kSecond);
  const Instant now = store_->Now();
  std::filesystem::copy(dir_.path() / "root", dir_.path() / "crashed",
                        std::filesystem::copy_options::recursive);
  clock_.Back(5000 * kSecond);
  const auto crashed = Store::Open({dir_.path() / "crashed", clock_.AsFunction()});
  EXPECT_GT(crashed->Now(), now);
  auto volume = crashed->OpenVolume("a");
  volume->Write({}, inos_["a"], 0, std::string_view("later"), false);
  EXPECT_GT(volume->last_instant(), now);
  auto view = crashed->OpenAt("a", now);
  std::string text(written_[1].text.size(), '#');
  view->Read(inos_["a"], 0, text);
  EXPECT_EQ(text, written_[1].text);
}

TEST_F(ClockTest, EverythingBeforeNowIsAtOrBeforeIt) {
  Add("a");
  for (int i = 0; i < 50; ++i) {
    Write("a");
    const std::string text = written_.back().text;
    const Instant now = store_->Now();
    EXPECT_GE(now, newest_);
    Write("a");
    EXPECT_GT(newest_, now);
    EXPECT_EQ(TextAt("a", now), text);
  }
}

TEST_F(ClockTest, ASnapshotOfNowShowsWhatIsThereWhenTheClockWasSteppedBack) {
  Add("a");
  Write("a");
  clock_.Back(100'000 * kSecond);
  Restart();
  Write("a");
  CreateRequest request;
  request.name = "snapshot";
  request.source_kind = SourceKind::kSnapshotOf;
  request.source = "a";
  store_->Create(request);
  Write("a");
  auto snapshot = store_->OpenVolume("snapshot");
  const auto file = snapshot->Lookup(kRootIno, "file");
  ASSERT_TRUE(file.has_value());
  std::string text(file->inode.size, '#');
  snapshot->Read(file->ino, 0, text);
  EXPECT_EQ(text, written_[2].text);
}

TEST_F(ClockTest, FutureAndTooEarlyInstantsAreRefused) {
  Add("a");
  clock_.Forward(kSecond);
  const Instant created = store_->Find("a")->created;
  const auto refusal = [&](Instant at) -> std::pair<int, std::string> {
    try {
      store_->OpenAt("a", at);
    } catch (const Refused& refused) {
      return {refused.error(), refused.what()};
    }
    return {0, ""};
  };
  EXPECT_EQ(refusal(Instant{store_->Now().ns + 3600 * kSecond}).first, ERANGE);
  EXPECT_EQ(refusal(kInstantMax).first, ERANGE);
  EXPECT_EQ(refusal(Before(created)).first, ERANGE);
  EXPECT_NE(refusal(Before(created)).second.find(FormatInstant(created)), std::string::npos)
      << refusal(Before(created)).second;
  EXPECT_EQ(refusal(created).first, 0);
  EXPECT_EQ(refusal(store_->Now()).first, 0);
}

}  // namespace
}  // namespace rw::testing
