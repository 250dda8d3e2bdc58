// What the parts of a check share: the report, the pace, and what is looked at.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "fs/check.h"
#include "fs/timeline.h"
#include "metadata/kept.h"
#include "metadata/refused.h"
#include "metadata/view.h"

namespace rw {

// One timeline that is checked.
struct CheckedTimeline {
  TimelineId id = 0;
  Ino first_ino = 1;
  std::vector<View::Link> parent_chain;  // as of the fork; empty if it has no parent
  KeptInstants kept;                     // the instants that are checked
  JournalPosition end;                   // of its journal
  std::vector<std::string> volumes;
};

// Not thread-safe.
class CheckContext {
 public:
  static constexpr size_t kMaxHurts = 10'000;

  CheckContext(const StoreContext& of_store, const CheckOptions& asked, CheckReport* answer,
               Instant now)
      : store(of_store), options(asked), report(answer), until(now) {}

  // Sleeps as the rate asks for; false: the check has to end.
  bool Pace(uint64_t bytes) {
    report->bytes += bytes;
    if (options.bytes_per_second > 0) {
      const std::chrono::duration<double> due(static_cast<double>(report->bytes) /
                                              static_cast<double>(options.bytes_per_second));
      std::this_thread::sleep_until(began_ + std::chrono::duration_cast<Clock::duration>(due));
    }
    if (!options.go_on || options.go_on()) return true;
    report->complete = false;
    return false;
  }
  void Progress(const char* step, uint64_t done, uint64_t total) const {
    if (options.progress) options.progress({step, done, total});
  }
  void Add(Hurt hurt) {
    if (report->hurts.size() < kMaxHurts) {
      report->hurts.push_back(std::move(hurt));
    } else {
      ++report->more;
    }
  }
  // What the index says of `what` could not be read.
  void AddUnreadable(const CheckedTimeline& timeline, const std::string& what,
                     const Refused& refused) {
    Add({HurtKind::kIndex, timeline.volumes, "", 0, 0, Instant{}, kInstantMax,
         what + ": " + refused.what(), false});
  }

  const StoreContext& store;
  const CheckOptions& options;
  CheckReport* const report;
  const Instant until;  // later operations are not looked at

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point began_ = Clock::now();
};

}  // namespace rw
