// Goal: what a program reads of a file is what was written, in whatever way it reads and writes,
// and what was there at each instant is found there later.
//
// Method: a process does random operations on two files of a mounted volume, of all kinds that
// change contents, beside copies in memory. Now and then it stops, says what the files are, and the
// instant is remembered; or it closes them, and goes on after a new mount, a restart of the store,
// or on a clone. At the end the files at the remembered instants are what they were.
// REWIND_SEED repeats one seed, REWIND_OPS makes the run longer or shorter.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <optional>
#include <random>
#include <sstream>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/time_text.h"
#include "tests/support/child.h"
#include "tests/support/contents_worker.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

struct Size {
  uint64_t max_bytes;  // of each file
  uint64_t operations;
};
constexpr Size kSizes[] = {{600'000, 25'000}, {48 * 1024, 25'000}, {5'000'000, 5'000}};
constexpr size_t kSeeds = 4;
constexpr size_t kMaxChecks = 1500;

// --- the process that works ---

ContentsWorker* worker_of_this_process = nullptr;
Messages* line_of_this_process = nullptr;

// A mapping that is shorter than it has to be.
void OnBusError(int) {
  line_of_this_process->Send("problem: SIGBUS\n" + worker_of_this_process->Log());
  _exit(1);
}

std::string Work(ContentsWorker& worker, Messages& line, uint64_t seed, uint64_t operations) {
  Random random(seed + 1);
  for (uint64_t i = 0; i < operations; ++i) {
    if (std::string problem = worker.Step(); !problem.empty()) return problem;
    if (random.OneIn(70)) {
      if (std::string problem = worker.Sync(); !problem.empty()) return problem;
      line.Send("quiet " + worker.state().Text());
      line.Receive();
    } else if (random.OneIn(operations / 9)) {
      worker.Close();
      line.Send("closed " + worker.state().Text());
      std::string problem = worker.Open(line.Receive().value_or(""));
      if (!problem.empty()) return "after the files were closed: " + problem;
    }
  }
  worker.Close();
  line.Send("done " + worker.state().Text());
  return {};
}

TEST(ContentsChild, DISABLED_Run) {
  auto line = LineToParent();
  if (!line) GTEST_SKIP() << "only as a child of ContentsTest";
  std::istringstream task(line->Receive().value_or(""));
  std::string directory;
  uint64_t seed = 0, operations = 0, max_bytes = 0;
  task >> directory >> seed >> operations >> max_bytes;
  ContentsWorker worker(seed, max_bytes);
  worker_of_this_process = &worker;
  line_of_this_process = &*line;
  signal(SIGBUS, OnBusError);
  std::string problem = worker.Open(directory);
  if (problem.empty()) problem = Work(worker, *line, seed, operations);
  if (!problem.empty()) line->Send("problem: " + problem + "\n" + worker.Log());
}

// --- the process that has the volume ---

struct Moment {
  std::string volume;
  Instant at;
  ContentsState state;
};

class ContentsTest : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    // The last one is new every time.
    seed_ = GetParam() + 1 < kSeeds ? GetParam() + 1 : std::random_device()();
    seed_ = NumberFromEnvironment("REWIND_SEED", seed_);
    random_.emplace(seed_ + 2);
    OpenStore();
    CreateRequest request;
    request.name = volume_;
    store_->Create(request);
    mounted_.emplace(*store_, volume_);
  }

  void OpenStore() { store_ = Store::Open({dir_.path() / "root", SystemNanoseconds}); }

  static std::string CheckView(Volume& view, const ContentsState& state) {
    for (size_t i = 0; i < kContentsFiles.size(); ++i) {
      const auto found = view.Lookup(kRootIno, kContentsFiles.at(i));
      if (!found) return std::string(kContentsFiles.at(i)) + " is not there";
      std::string bytes(state.sizes.at(i) + 1, '#');
      bytes.resize(view.Read(found->ino, 0, bytes));
      if (bytes.size() != state.sizes.at(i) || found->inode.size != state.sizes.at(i))
        return std::string(kContentsFiles.at(i)) + " has another size";
      if (HashOfContents(bytes) != state.hashes.at(i))
        return std::string(kContentsFiles.at(i)) + " has other contents";
    }
    return {};
  }

  std::string CheckMoment(const Moment& moment) {
    const std::string problem = CheckView(*store_->OpenAt(moment.volume, moment.at), moment.state);
    if (problem.empty()) return {};
    return moment.volume + " at " + std::to_string(moment.at.ns) + ": " + problem;
  }

  std::string Remember(const std::string& state) {
    moments_.push_back({volume_, store_->Now(), ContentsState::Parse(state)});
    return random_->OneIn(10) ? CheckMoment(random_->PickFrom(moments_)) : "";
  }

  // While the files are closed: the same volume, or a clone, under a new mount.
  std::string MountAgain(const ContentsState& state) {
    mounted_.reset();
    if (random_->OneIn(2)) {
      store_.reset();
      OpenStore();
    }
    std::string problem = CheckView(*store_->OpenVolume(volume_), state);
    if (random_->OneIn(2)) {
      heads_.push_back({volume_, kInstantMax, state});
      CreateRequest request;
      request.source_kind = SourceKind::kCloneOf;
      request.source = volume_;
      request.name = volume_ = "clone-" + std::to_string(heads_.size());
      store_->Create(request);
    }
    mounted_.emplace(*store_, volume_);
    return problem;
  }

  // Answers the child until it is done. Returns what is wrong.
  std::string Serve(Child& child) {
    for (;;) {
      std::string message = child.Receive();
      const std::string what = message.substr(0, message.find(' '));
      const std::string rest = message.substr(std::min(message.size(), what.size() + 1));
      std::string problem;
      if (what == "quiet") {
        problem = Remember(rest);
        child.Send("go on");
      } else if (what == "closed") {
        problem = MountAgain(ContentsState::Parse(rest));
        child.Send(mounted_->path());
      } else if (what == "done") {
        heads_.push_back({volume_, kInstantMax, ContentsState::Parse(rest)});
        return {};
      } else {
        return message;
      }
      if (!problem.empty()) return problem;
    }
  }

  std::string CheckEverything() {
    for (const Moment& head : heads_) {
      std::string problem = CheckView(*store_->OpenVolume(head.volume), head.state);
      if (!problem.empty()) return head.volume + ": " + problem;
    }
    const size_t step = moments_.size() / kMaxChecks + 1;
    for (size_t i = 0; i < moments_.size(); i += step) {
      if (std::string problem = CheckMoment(moments_[i]); !problem.empty()) return problem;
    }
    return {};
  }

  const TempDir dir_;
  uint64_t seed_ = 0;
  std::optional<Random> random_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
  std::string volume_ = "volume";  // that is mounted
  std::vector<Moment> moments_;
  std::vector<Moment> heads_;  // what the volumes were when they were left
};

TEST_P(ContentsTest, AreWhatWasWrittenNowAndAtEachInstant) {
  if (std::getenv("REWIND_SEED") != nullptr && GetParam() != 1) GTEST_SKIP() << "one seed only";
  const Size& size = kSizes[GetParam() % std::size(kSizes)];
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", size.operations);
  const uint64_t max_bytes = NumberFromEnvironment("REWIND_MAX_BYTES", size.max_bytes);
  std::cout << "seed " << seed_ << ", " << operations << " operations on files of up to "
            << max_bytes << " bytes" << std::endl;
  Child child("ContentsChild.DISABLED_Run");
  child.Send(mounted_->path() + " " + std::to_string(seed_) + " " + std::to_string(operations) +
             " " + std::to_string(max_bytes));
  const std::string problem = Serve(child);
  ASSERT_TRUE(problem.empty()) << "seed " << seed_ << ", " << problem;
  mounted_.reset();
  ASSERT_EQ(CheckEverything(), "") << "seed " << seed_;
  store_.reset();
  OpenStore();
  ASSERT_EQ(CheckEverything(), "") << "seed " << seed_ << ", after a restart";
  std::cout << moments_.size() << " instants, " << heads_.size() << " volumes" << std::endl;
}

INSTANTIATE_TEST_SUITE_P(Seeds, ContentsTest, ::testing::Range<size_t>(0, kSeeds));

}  // namespace
}  // namespace rw::testing
