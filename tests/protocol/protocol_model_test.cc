// Goal: whatever the engine asks, in whatever order, with retries, empty and broken bodies, unknown
// names and bad options, the answers are those of a small model, and what is refused changes
// nothing. In the end nothing is left: volumes, mounts, descriptors, threads.
//
// Method: one random sequence to a real daemon; each answer is compared, and now and then
// everything that can be asked. REWIND_SEED and REWIND_OPS.
#include "tests/support/protocol_model.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/support/protocol_driver.h"
#include "tests/support/random.h"
#include "tests/support/resources.h"

namespace rw::testing {
namespace {

using Json = nlohmann::json;
using Kind = ProtocolCall::Kind;

constexpr char kNames[][16] = {"one", "two", "three", "four", "ümläut", "with it", "six"};
constexpr char kIds[][16] = {"a", "b", "c", "", "ünï"};
constexpr char kGoodOptions[][64] = {
    "{}",
    "null",
    R"({"mode":"0750"})",
    R"({"uid":"5","gid":"6"})",
    R"({"size":"1G"})",
    R"({"retention":"0","keep":"none"})",
    R"({"mount":"suid,dev"})",
};
constexpr char kBadOptions[][64] = {
    R"({"colour":"red"})",   R"({"uid":"x"})",
    R"({"at":"10m"})",       R"({"mode":"9"})",
    R"({"size":"0"})",       R"({"keep":"often"})",
    R"({"help":""})",        R"({"clone-of":"nobody"})",
    R"({"clone-of":"a/b"})", R"({"snapshot-of":"nobody","at":"now"})",
    R"({"mount":""})",
};

class ProtocolModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    daemon_ = std::make_unique<DaemonProcess>(kRemovalsAreNotForgotten);
  }

  std::string Refusal(const std::string& endpoint, const std::string& body) const {
    const std::string answer =
        daemon_->Exchange("POST /" + endpoint + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body);
    const size_t head_end = answer.find("\r\n\r\n");
    if (head_end == answer.npos) return "";
    return Json::parse(answer.substr(head_end + 4)).at("Err");
  }

  // The engine's `null` is no options.
  static std::string Canonical(const std::string& options) {
    return options == "null" ? "{}" : options;
  }

  void CallOnce(const std::string& name, ProtocolCall call) {
    const ProtocolAnswer answer = Call(*daemon_, name, call);
    call.options = Canonical(call.options);
    const ProtocolAnswer expected = models_[name].Do(call);
    ASSERT_EQ(answer, expected) << name << ": " << ToText(call) << ": " << ToText(answer)
                                << " instead of " << ToText(expected);
    ++done_[answer.done];
  }

  void AnyCall(Random* random) {
    ProtocolCall call;
    call.kind = static_cast<Kind>(random->Below(6));
    if (call.kind == Kind::kRemove && random->Percent(60)) call.kind = Kind::kMount;
    if (call.kind == Kind::kMount || call.kind == Kind::kUnmount) call.id = random->Pick(kIds);
    if (call.kind == Kind::kCreate) call.options = random->Pick(kGoodOptions);
    const std::string name = random->Pick(kNames);
    CallOnce(name, call);
    if (HasFatalFailure()) return;
    if (random->OneIn(8)) CallOnce(name, call);  // a retry of what was done
  }

  // Nothing that the model knows of may come of these.
  void AnyBadCall(Random* random) {
    ProtocolCall call;
    call.kind = static_cast<Kind>(random->Below(6));
    call.id = "a";
    call.options = "{}";
    const std::string name = random->Pick(kNames);
    std::string body = BodyOf(name, call).dump();
    switch (random->Below(5)) {
      case 0:
        body.clear();
        break;
      case 1:
        body.resize(random->Below(body.size()));
        break;
      case 2:
        body = R"({"Name":["one"],"ID":"a"})";
        break;
      case 3:
        body = "[" + body + "]";
        break;
      case 4:
        call.kind = Kind::kCreate;
        call.options = random->Pick(kBadOptions);
        body = BodyOf(models_[name].there ? "unknown" : name, call).dump();
        break;
    }
    EXPECT_NE(Refusal(EndpointOf(call), body), "") << EndpointOf(call) << " " << body;
  }

  void CheckAll() {
    std::set<std::string> expected, listed;
    size_t mounted = 0;
    for (const auto& [name, model] : models_) {
      if (model.there) expected.insert(name);
      mounted += !model.counts.empty();
    }
    const Json list = daemon_->Post("VolumeDriver.List", Json::object());
    for (const Json& volume : list.at("Volumes")) listed.insert(volume.at("Name"));
    ASSERT_EQ(listed, expected);
    for (const char* name : kNames) {
      CallOnce(name, {Kind::kGet, "", ""});
      CallOnce(name, {Kind::kPath, "", ""});
    }
    ASSERT_EQ(ResourcesOf(daemon_->daemon(), daemon_->mounts()).mounts, mounted);
    ASSERT_EQ(daemon_->Post("VolumeDriver.Capabilities", Json::object())["Capabilities"]["Scope"],
              "local");
  }

  void EndAll() {
    for (const char* name : kNames) {
      while (!models_[name].counts.empty())
        CallOnce(name, {Kind::kUnmount, models_[name].counts.begin()->first, ""});
      CallOnce(name, {Kind::kRemove, "", ""});
    }
  }

  std::unique_ptr<DaemonProcess> daemon_;
  std::map<std::string, VolumeModel> models_;
  std::map<bool, int> done_;
};

TEST_F(ProtocolModelTest, AnswersAsTheModelDoes) {
  const uint64_t seed = NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t operations = NumberFromEnvironment("REWIND_OPS", 1000);
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  Random random(seed);
  const Resources before = ResourcesOf(daemon_->daemon(), daemon_->mounts());
  int bad = 0;
  for (uint64_t i = 0; i < operations && !HasFailure(); ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    if (random.OneIn(5)) {
      AnyBadCall(&random);
      ++bad;
    } else {
      AnyCall(&random);
    }
    if (random.OneIn(50)) CheckAll();
    if (random.OneIn(500) && !HasFailure()) EndAll();
  }
  if (HasFailure()) return;
  CheckAll();
  EndAll();
  CheckAll();
  const Resources after = WaitForNoMoreThan(before, daemon_->daemon(), daemon_->mounts());
  EXPECT_TRUE(HoldsNoMore(after, before)) << after << ", before: " << before;
  std::cout << done_[true] << " calls done, " << done_[false] << " refused, " << bad
            << " bad requests" << std::endl;
}

}  // namespace
}  // namespace rw::testing
