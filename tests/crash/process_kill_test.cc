// Goal: everything that was acknowledged before the process was killed is there after the restart,
// and the history before is unchanged.
//
// Method: a child process (this program again) runs random operations on two volumes, and makes
// clones, snapshot volumes and rollbacks meanwhile; it reports each acknowledged one over a pipe.
// It gets SIGKILL at random moments, also while it recovers from the kill before. Then the trees,
// now and at random instants, must equal the model, of which only the one operation under way may
// or may not have been done. REWIND_SEED repeats one seed.
#include <errno.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "fs/store.h"
#include "metadata/refused.h"
#include "tests/support/killed_process.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr uint32_t kKillsPerStore = 7;

TEST(ProcessKillChild, DISABLED_Run) {
  KilledRun run;
  int fd = -1;
  if (!KilledRunFromEnvironment(&run, &fd)) GTEST_SKIP() << "only as a child of ProcessKillTest";
  FAIL() << WorkUntilKilled(run, fd);
}

// With and without history being collected meanwhile.
class ProcessKillTest : public ::testing::TestWithParam<std::tuple<uint64_t, bool>> {
 protected:
  void SetUp() override {
    const auto [seed, collect] = GetParam();
    if (std::getenv("REWIND_SEED") != nullptr && seed != 1) GTEST_SKIP() << "one seed only";
    run_ = {.root = dir_.path() / "root",
            .log = dir_.path() / "log",
            .seed = NumberFromEnvironment("REWIND_SEED", seed),
            .run = 0,
            .collect = collect};
    std::cout << "seed " << run_.seed << std::endl;
    auto store = Store::Open(OptionsOf(run_));
    for (uint32_t number = 0; number < kKilledVolumes; ++number) {
      CreateRequest request;
      request.name = KilledVolumeName(number);
      store->Create(request);
      // The models begin here, in every process.
      store->SetMark({request.name}, "created", "", store->Find(request.name)->created);
      volumes_.push_back(std::make_unique<LoggedVolume>(*store, number, run_.seed));
    }
  }

  // Runs the child until it is killed, and takes over what it acknowledged.
  std::string RunOnce(Random& random) {
    WriteLog(run_.log, log_);
    const bool from_start = random.OneIn(5);
    const std::chrono::microseconds delay(random.Below(from_start ? 150'000 : 250'000));
    std::string problem;
    done_ = RunAndKill(run_, "ProcessKillChild.DISABLED_Run", delay, from_start, &problem);
    collected_until_ = SystemNanoseconds();
    if (!from_start && done_.empty()) problem += " nothing was acknowledged";
    for (const auto& volume : volumes_) volume->BeginRun(run_.run);
    for (const Acknowledgement& done : done_) {
      if (done.who >= kKilledVolumes || !problem.empty()) continue;
      problem = volumes_[done.who]->Take(volumes_[done.who]->Next(), done);
    }
    return problem;
  }

  std::string CheckVolumes(Store& store, Random& random) {
    for (const auto& volume : volumes_) {
      Twin& twin = volume->twin();
      twin.volume = store.OpenVolume(twin.name);
      std::string problem = volume->ResolveLast(done_);
      twin.volume.reset();
      if (!problem.empty()) return twin.name + ": " + problem;
    }
    return CheckTrees(store, random);
  }

  std::string CheckTrees(Store& store, Random& random) {
    for (const auto& volume : volumes_) {
      Twin& twin = volume->twin();
      twin.volume = store.OpenVolume(twin.name);
      std::string problem = twin.CheckView(*twin.volume, kInstantMax);
      for (int i = 0; i < 8 && problem.empty(); ++i) {
        problem = CheckAt(store, twin, random.PickFrom(twin.model.instants()));
      }
      twin.volume.reset();
      if (!problem.empty()) return twin.name + ": " + problem;
    }
    return {};
  }

  std::string CheckAt(Store& store, const Twin& twin, Instant at) {
    const Instant horizon = store.Find(twin.name)->horizon;
    try {
      return twin.CheckView(*store.OpenAt(twin.name, at), at);
    } catch (const Refused& refused) {
      const bool promised =
          at >= horizon || !run_.collect || at.ns + kKilledRetentionNs >= collected_until_;
      if (refused.error() == ERANGE && !promised) return {};
      return "at " + std::to_string(at.ns) + ": " + refused.what();
    }
  }

  // Whatever was acknowledged is among the volume's events, once.
  std::string CheckEvents(Store& store) {
    for (uint32_t number = 0; number < kKilledVolumes; ++number) {
      const std::string name = KilledVolumeName(number);
      std::set<uint64_t> said;
      std::string problem;
      const EventsRead read = store.ReadEvents(name, {}, [&](const Event& event) {
        if (!said.empty() && event.at.ns <= *said.rbegin()) problem = "instants do not increase";
        said.insert(event.at.ns);
        return true;
      });
      for (const auto* list : {&log_, &done_}) {
        for (const Acknowledgement& done : *list) {
          if (done.who != number || done.error != 0 || done.instant < read.begins.ns) continue;
          if (!said.contains(done.instant))
            problem = "an event is missing: " + std::to_string(done.instant);
        }
      }
      if (!read.holes.empty()) problem = "there are holes";
      if (!problem.empty()) return name + ": " + problem;
    }
    return {};
  }

  // Volumes that the child made, removed and rolled back.
  std::string CheckMade(Store& store) {
    std::map<uint64_t, Acknowledgement> newest;
    for (const Acknowledgement& done : done_) {
      if (done.who >= kKilledVolumes) newest[done.created] = done;
    }
    for (const auto& [number, done] : newest) {
      const std::string name = MadeName(run_.run, number);
      const auto record = store.Find(name);
      // What was under way after the last one may have been done.
      const bool last = number == newest.rbegin()->first;
      if (done.who == Acknowledgement::kRemoved || (last && !record.has_value())) {
        if (record.has_value()) return name + " was removed and is there";
        if (last && done.who != Acknowledgement::kRemoved && number % 5 != 2)
          return name + " is lost";
        continue;
      }
      if (!record.has_value()) return name + " is lost";
      if (done.who == Acknowledgement::kRolledBack && record->bindings.size() != 2) {
        return "the rollback of " + name + " is lost";
      }
      const Instant at{done.instant};
      const Twin& source = volumes_[0]->twin();
      const Twin made{name, nullptr, ReferenceModel::CloneOf(source.model, at, at), source.inos,
                      source.model.UnlinkedAt(at).empty()};
      std::string problem = made.CheckView(*store.OpenVolume(name), kInstantMax);
      if (!problem.empty()) return problem;
    }
    return {};
  }

  void RemoveMade(Store& store) {
    for (const VolumeRecord& record : store.List()) {
      if (record.name.starts_with("made-")) store.Remove(record.name);
    }
  }

  TempDir dir_;
  KilledRun run_;
  uint64_t collected_until_ = 0;  // no collection began later
  std::unique_ptr<Store> store_;  // outlives what is open of it, also when a check throws
  std::vector<std::unique_ptr<LoggedVolume>> volumes_;
  std::vector<Acknowledgement> log_;   // of all runs before
  std::vector<Acknowledgement> done_;  // of this run
};

TEST_P(ProcessKillTest, AcknowledgedOperationsSurvive) {
  Random random(run_.seed + 17);
  size_t operations = 0;
  for (; run_.run < kKillsPerStore; ++run_.run) {
    SCOPED_TRACE("seed " + std::to_string(run_.seed) + ", kill " + std::to_string(run_.run));
    ASSERT_EQ(RunOnce(random), "");
    operations += done_.size();
    store_ = Store::Open(OptionsOf(run_));
    ASSERT_EQ(CheckVolumes(*store_, random), "");
    ASSERT_EQ(CheckMade(*store_), "");
    ASSERT_EQ(CheckEvents(*store_), "");
    if (run_.collect) {
      store_->Collect();
      collected_until_ = SystemNanoseconds();
      ASSERT_EQ(CheckTrees(*store_, random), "");
      ASSERT_EQ(CheckMade(*store_), "");
      ASSERT_EQ(CheckEvents(*store_), "");
    }
    RemoveMade(*store_);
    store_.reset();
    log_.insert(log_.end(), done_.begin(), done_.end());
  }
  std::cout << operations << " acknowledged operations, " << kKillsPerStore << " kills"
            << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Seeds, ProcessKillTest,
                         ::testing::Combine(::testing::Range<uint64_t>(1, 6), ::testing::Bool()));

}  // namespace
}  // namespace rw::testing
