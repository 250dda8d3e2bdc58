// A store with several volumes, each beside its reference model, and everything that can happen to
// them: operations, clones, snapshot volumes, rollbacks, restarts, removals. Methods do one such
// thing and return what is wrong, or an empty string.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fs/store.h"
#include "tests/support/random.h"
#include "tests/support/random_operations.h"
#include "tests/support/twin.h"

namespace rw::testing {

class OracleWorld {
 public:
  OracleWorld(uint64_t seed, const OperationProfile& profile, std::filesystem::path root);
  ~OracleWorld();

  std::string AddVolume();
  std::string Operate();          // one random operation on a random volume, refused ones included
  std::string CheckSomewhere();   // a random volume at a random instant of its history
  std::string CheckEverywhere();  // all volumes: now, at the first instant, and at some in between
  std::string CheckRefusals();    // what a store refuses, it refuses, and nothing changes
  std::string Clone();            // of any volume, clones and snapshot volumes too
  std::string Snapshot();
  std::string RollBack();
  std::string Restart(bool forget_unlinked);
  std::string RemoveOne();

  size_t volumes() const { return members_.size(); }
  size_t checks() const { return checks_; }

 private:
  struct Member {
    Twin twin;
    bool snapshot = false;
  };

  std::string FreeName();
  Member& AnyMember() { return *members_[random_.Below(members_.size())]; }
  Member* AnyWritable();
  // An instant of the member's history: that of an operation, just before one, between two, or now.
  Instant AnyInstant(const Member& member);
  std::string CheckAt(const Member& member, Instant at);
  std::string ExpectRefused(int error, const std::string& in_message, const CreateRequest& request);
  Member& AddMember(Twin twin, bool snapshot);

  Random random_;
  RandomOperations operations_;
  const StoreOptions options_;
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Member>> members_;
  size_t checks_ = 0;
};

}  // namespace rw::testing
