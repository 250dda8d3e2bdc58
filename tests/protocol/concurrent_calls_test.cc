// Goal: however calls about volumes overlap, what they answer and what they leave is what they
// would have done one after the other, in an order that nobody who waited for an answer can
// contradict (linearizability); and nothing of them is left in the daemon.
//
// Method: hundreds of calls at once, from as many threads, about volumes that several of them
// share; each notes when it was sent and when its answer was there. Then the volume is emptied call
// by call. For each volume an order of all calls is looked for under which a small model gives
// exactly the answers that there were. REWIND_SEED and REWIND_ROUNDS.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/protocol_driver.h"
#include "tests/support/protocol_model.h"
#include "tests/support/random.h"
#include "tests/support/resources.h"

namespace rw::testing {
namespace {

using Kind = ProtocolCall::Kind;

constexpr size_t kVolumes = 20, kCallsPerVolume = 10;  // 200 at once
constexpr char kIds[][2] = {"a", "b"};

// A call that was made: it took effect after `sent` and before `answered`, which are numbers that
// all threads draw from one counter.
struct Made {
  ProtocolCall call;
  ProtocolAnswer answer;
  uint64_t sent = 0, answered = 0;
};

// Looks for an order. Calls that were answered before others were sent come before those.
class Explanation {
 public:
  explicit Explanation(const std::vector<Made>& made, VolumeModel before = {})
      : made_(made), before_(std::move(before)) {}
  bool Exists() { return Search(before_, 0); }

 private:
  bool Search(const VolumeModel& state, uint64_t done) {
    if (done == (uint64_t{1} << made_.size()) - 1) return true;
    if (!tried_.insert({done, state}).second) return false;
    uint64_t first_answer = UINT64_MAX;
    for (size_t i = 0; i < made_.size(); ++i) {
      if ((done >> i & 1) == 0) first_answer = std::min(first_answer, made_[i].answered);
    }
    for (size_t i = 0; i < made_.size(); ++i) {
      if ((done >> i & 1) != 0 || made_[i].sent > first_answer) continue;
      VolumeModel after = state;
      if (after.Do(made_[i].call) == made_[i].answer && Search(after, done | uint64_t{1} << i))
        return true;
    }
    return false;
  }

  const std::vector<Made>& made_;
  const VolumeModel before_;
  std::set<std::pair<uint64_t, VolumeModel>> tried_;
};

std::string ToText(const std::vector<Made>& made) {
  std::string text;
  for (const Made& one : made) {
    text += "\n" + std::to_string(one.sent) + ".." + std::to_string(one.answered) + " " +
            testing::ToText(one.call) + ": " + testing::ToText(one.answer);
  }
  return text;
}

class ConcurrentCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    daemon_ = std::make_unique<DaemonProcess>(kRemovalsAreNotForgotten);
  }

  static ProtocolCall AnyCall(Random* random) {
    ProtocolCall call;
    const uint64_t choice = random->Below(100);
    call.kind = choice < 20   ? Kind::kCreate
                : choice < 30 ? Kind::kRemove
                : choice < 55 ? Kind::kMount
                : choice < 80 ? Kind::kUnmount
                : choice < 95 ? Kind::kGet
                              : Kind::kPath;
    if (call.kind == Kind::kMount || call.kind == Kind::kUnmount) call.id = random->Pick(kIds);
    if (call.kind == Kind::kCreate) call.options = random->OneIn(4) ? R"({"mode":"0700"})" : "{}";
    return call;
  }

  void Make(const std::string& volume, Made* made) {
    made->sent = ++clock_;
    made->answer = Call(*daemon_, volume, made->call);
    made->answered = ++clock_;
  }

  // One call after the other: what was left, and that it goes.
  void Empty(const std::string& volume, std::vector<Made>* made) {
    const auto then = [&](Kind kind, const std::string& id = "") -> const ProtocolAnswer& {
      made->push_back({{kind, id, ""}, {}, 0, 0});
      Make(volume, &made->back());
      return made->back().answer;
    };
    std::set<std::string> holders;
    while (!(holders = then(Kind::kGet).holders).empty()) then(Kind::kUnmount, *holders.begin());
    then(Kind::kRemove);
    then(Kind::kGet);
  }

  std::unique_ptr<DaemonProcess> daemon_;
  std::atomic<uint64_t> clock_{0};
};

TEST_F(ConcurrentCallsTest, AreDoneInSomeOrder) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t rounds = NumberFromEnvironment("REWIND_ROUNDS", 6);
  const Resources before = ResourcesOf(daemon_->daemon(), daemon_->mounts());
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed) + ", round " + std::to_string(round));
    Random random(seed + round * 1000);
    std::vector<std::vector<Made>> volumes(kVolumes);
    for (std::vector<Made>& made : volumes) {
      made.resize(kCallsPerVolume);
      for (Made& one : made) one.call = AnyCall(&random);
      made[0].call = {Kind::kCreate, "", "{}"};  // or too little happens
    }
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (size_t call = 0; call < kCallsPerVolume; ++call) {
      for (size_t volume = 0; volume < kVolumes; ++volume) {
        threads.emplace_back([&, this, volume, one = &volumes[volume][call]] {
          while (!go) std::this_thread::yield();
          Make("v" + std::to_string(volume), one);
        });
      }
    }
    go = true;
    for (std::thread& thread : threads) thread.join();
    for (size_t volume = 0; volume < kVolumes; ++volume) {
      std::vector<Made>& made = volumes[volume];
      Empty("v" + std::to_string(volume), &made);
      ASSERT_LT(made.size(), 64u) << ToText(made);
      VolumeModel before_round;
      before_round.removed = round > 0;
      EXPECT_TRUE(Explanation(made, before_round).Exists())
          << "no order explains this:" << ToText(made);
    }
    EXPECT_EQ(daemon_->Post("VolumeDriver.List", nlohmann::json::object())["Volumes"],
              nlohmann::json::array());
  }
  const Resources after = WaitForNoMoreThan(before, daemon_->daemon(), daemon_->mounts());
  EXPECT_TRUE(HoldsNoMore(after, before)) << after << ", before: " << before;
}

// The judge itself: it must find an order where there is one, and none where there is none.
TEST(ExplanationTest, NeedsAnOrderThatNobodyCanContradict) {
  const ProtocolAnswer done{true, false, {}}, refused{}, mounted{true, true, {}};
  const ProtocolCall create{Kind::kCreate, "", "{}"}, remove{Kind::kRemove, "", ""},
      mount{Kind::kMount, "a", ""}, get{Kind::kGet, "", ""};
  const auto exists = [](const std::vector<Made>& made) { return Explanation(made).Exists(); };
  EXPECT_TRUE(exists({{create, done, 1, 4}, {mount, mounted, 2, 3}}));
  EXPECT_TRUE(exists({{create, done, 1, 4}, {mount, refused, 2, 3}}));
  EXPECT_FALSE(exists({{create, done, 1, 2}, {mount, refused, 3, 4}}));
  EXPECT_FALSE(exists({{create, done, 1, 2}, {mount, mounted, 3, 4}, {remove, done, 5, 6}}));
  EXPECT_FALSE(exists({{create, done, 1, 4}, {mount, mounted, 2, 3}, {get, done, 5, 6}}));
  EXPECT_TRUE(
      exists({{create, done, 1, 4}, {mount, mounted, 2, 3}, {get, {true, true, {"a"}}, 5, 6}}));
}

}  // namespace
}  // namespace rw::testing
