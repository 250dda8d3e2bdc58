// What this process has done, counted: requests by kind with how long they took, groups of syncs,
// runs of the collector, errors. For monitoring (plugin/metrics.h); nothing else goes by them.
//
// Counting must cost nothing that can be measured: threads count in places of their own, with
// relaxed atomics and no lock. Sums are not of one moment.
//
// Thread safety: everything may be called from any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rw {

// The kinds of requests that are told apart.
enum class RequestKind : uint8_t {
  kLookup,
  kGetAttr,
  kSetAttr,
  kReadLink,
  kCreate,
  kLink,
  kUnlink,
  kRename,
  kRead,
  kWrite,
  kSync,
  kReadDir,
  kGetXattr,
  kSetXattr,
  kFallocate,
  kSeek,
  kCopy,
  kStatFs,
  kForget,
  kOther,
};
inline constexpr size_t kRequestKinds = static_cast<size_t>(RequestKind::kOther) + 1;
std::string_view NameOf(RequestKind kind);
// Of FUSE's opcodes.
RequestKind KindOfOpcode(uint32_t opcode);

// Bucket i holds what took less than 2048 ns × 2^i, and not less than the one before; the last one
// all the rest.
inline constexpr size_t kTimeBuckets = 23;
inline constexpr uint64_t kFirstBucketNs = 2048;
// Bucket i holds groups of up to 2^i.
inline constexpr size_t kGroupBuckets = 8;
inline constexpr int kMaxErrno = 133;

struct TimeSum {
  uint64_t count = 0, nanoseconds = 0;
};
struct TimeHistogram {
  std::array<uint64_t, kTimeBuckets> buckets{};
  TimeSum sum;
};

// Of one volume, since the process began, through its mounts.
struct VolumeCounts {
  TimeSum reads, writes, syncs, others;
  uint64_t read_bytes = 0, written_bytes = 0;
};

struct ProcessCounts {
  std::array<TimeHistogram, kRequestKinds> requests;
  std::array<uint64_t, kMaxErrno + 1> errors{};  // that requests were answered with, by errno
  std::array<uint64_t, kGroupBuckets> sync_groups{};
  uint64_t syncs = 0;        // that waited for the disk
  TimeHistogram disk_syncs;  // what they waited for, once for each group
  uint64_t collector_runs = 0, collector_freed_bytes = 0, collector_moved_bytes = 0,
           collector_dropped_versions = 0;
};

class VolumeFigures {
 public:
  void Count(RequestKind kind, uint64_t nanoseconds);
  void CountBytes(RequestKind kind, uint64_t bytes);
  VolumeCounts counts() const;

 private:
  static constexpr size_t kPlaces = 8;
  struct Pair {
    std::atomic<uint64_t> count{0}, nanoseconds{0};
  };
  struct alignas(64) Place {
    Pair reads, writes, syncs, others;
    std::atomic<uint64_t> read_bytes{0}, written_bytes{0};
  };
  Place& Own();
  std::array<Place, kPlaces> places_;
};

// Of a volume, from its first mount on; the same object for the same name.
std::shared_ptr<VolumeFigures> FiguresOf(const std::string& volume);
// Those of volumes that are no more go.
void ForgetFiguresBut(const std::vector<std::string>& volumes);

void CountRequest(RequestKind kind, uint64_t nanoseconds);
void CountError(int error);
void CountSyncGroup(uint64_t size, uint64_t nanoseconds);
void CountCollectorRun(uint64_t freed_bytes, uint64_t moved_bytes, uint64_t versions);
ProcessCounts CountsOfProcess();

inline uint64_t NanosecondsSince(std::chrono::steady_clock::time_point begun) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begun)
          .count());
}

}  // namespace rw
