#include "fs/figures.h"

#include <linux/fuse.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>

namespace rw {
namespace {

constexpr size_t kPlaces = 16;

void Add(std::atomic<uint64_t>* to, uint64_t value) {
  to->fetch_add(value, std::memory_order_relaxed);
}
uint64_t Get(const std::atomic<uint64_t>& from) { return from.load(std::memory_order_relaxed); }

// Which place is a thread's. Threads may share one: that costs time, not truth.
size_t NumberOfThread() {
  static std::atomic<size_t> next{0};
  thread_local const size_t number = next++;
  return number;
}

size_t BucketOf(uint64_t nanoseconds) {
  return std::min<size_t>(std::bit_width(nanoseconds / kFirstBucketNs), kTimeBuckets - 1);
}

struct Times {
  std::array<std::atomic<uint64_t>, kTimeBuckets> buckets{};
  std::atomic<uint64_t> nanoseconds{0};

  void Count(uint64_t took) {
    Add(&buckets[BucketOf(took)], 1);
    Add(&nanoseconds, took);
  }
  void AddTo(TimeHistogram* sum) const {
    for (size_t i = 0; i < kTimeBuckets; ++i) {
      const uint64_t count = Get(buckets[i]);
      sum->buckets[i] += count;
      sum->sum.count += count;
    }
    sum->sum.nanoseconds += Get(nanoseconds);
  }
};

struct alignas(64) Place {
  std::array<Times, kRequestKinds> requests;
};

struct Process {
  std::array<Place, kPlaces> places;
  // What is rare is counted in one place.
  std::array<std::atomic<uint64_t>, kMaxErrno + 1> errors{};
  std::array<std::atomic<uint64_t>, kGroupBuckets> sync_groups{};
  std::atomic<uint64_t> syncs{0};
  Times disk_syncs;
  std::atomic<uint64_t> runs{0}, freed{0}, moved{0}, versions{0};

  std::mutex mutex;  // guards volumes
  std::map<std::string, std::shared_ptr<VolumeFigures>> volumes;
};

Process& TheProcess() {
  static auto* const process = new Process;  // threads may outlive static objects
  return *process;
}

}  // namespace

std::string_view NameOf(RequestKind kind) {
  constexpr std::string_view kNames[] = {
      "lookup",    "getattr", "setattr",         "readlink", "create",  "link",     "unlink",
      "rename",    "read",    "write",           "fsync",    "readdir", "getxattr", "setxattr",
      "fallocate", "lseek",   "copy_file_range", "statfs",   "forget",  "other"};
  static_assert(std::size(kNames) == kRequestKinds);
  return kNames[static_cast<size_t>(kind)];
}

RequestKind KindOfOpcode(uint32_t opcode) {
  switch (opcode) {
    case FUSE_LOOKUP:
      return RequestKind::kLookup;
    case FUSE_GETATTR:
      return RequestKind::kGetAttr;
    case FUSE_SETATTR:
      return RequestKind::kSetAttr;
    case FUSE_READLINK:
      return RequestKind::kReadLink;
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_CREATE:
      return RequestKind::kCreate;
    case FUSE_LINK:
      return RequestKind::kLink;
    case FUSE_UNLINK:
    case FUSE_RMDIR:
      return RequestKind::kUnlink;
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return RequestKind::kRename;
    case FUSE_READ:
      return RequestKind::kRead;
    case FUSE_WRITE:
      return RequestKind::kWrite;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
      return RequestKind::kSync;
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return RequestKind::kReadDir;
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      return RequestKind::kGetXattr;
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
      return RequestKind::kSetXattr;
    case FUSE_FALLOCATE:
      return RequestKind::kFallocate;
    case FUSE_LSEEK:
      return RequestKind::kSeek;
    case FUSE_COPY_FILE_RANGE:
      return RequestKind::kCopy;
    case FUSE_STATFS:
      return RequestKind::kStatFs;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      return RequestKind::kForget;
    default:
      return RequestKind::kOther;
  }
}

VolumeFigures::Place& VolumeFigures::Own() { return places_[NumberOfThread() % kPlaces]; }

void VolumeFigures::Count(RequestKind kind, uint64_t nanoseconds) {
  Place& place = Own();
  Pair* pair = &place.others;
  if (kind == RequestKind::kRead) pair = &place.reads;
  if (kind == RequestKind::kWrite) pair = &place.writes;
  if (kind == RequestKind::kSync) pair = &place.syncs;
  Add(&pair->count, 1);
  Add(&pair->nanoseconds, nanoseconds);
}

void VolumeFigures::CountBytes(RequestKind kind, uint64_t bytes) {
  Place& place = Own();
  Add(kind == RequestKind::kRead ? &place.read_bytes : &place.written_bytes, bytes);
}

VolumeCounts VolumeFigures::counts() const {
  VolumeCounts counts;
  const auto add = [](const Pair& from, TimeSum* to) {
    to->count += Get(from.count);
    to->nanoseconds += Get(from.nanoseconds);
  };
  for (const Place& place : places_) {
    add(place.reads, &counts.reads);
    add(place.writes, &counts.writes);
    add(place.syncs, &counts.syncs);
    add(place.others, &counts.others);
    counts.read_bytes += Get(place.read_bytes);
    counts.written_bytes += Get(place.written_bytes);
  }
  return counts;
}

std::shared_ptr<VolumeFigures> FiguresOf(const std::string& volume) {
  Process& process = TheProcess();
  const std::lock_guard lock(process.mutex);
  std::shared_ptr<VolumeFigures>& figures = process.volumes[volume];
  if (figures == nullptr) figures = std::make_shared<VolumeFigures>();
  return figures;
}

void ForgetFiguresBut(const std::vector<std::string>& volumes) {
  Process& process = TheProcess();
  const std::lock_guard lock(process.mutex);
  std::erase_if(process.volumes, [&](const auto& entry) {
    return std::find(volumes.begin(), volumes.end(), entry.first) == volumes.end();
  });
}

void CountRequest(RequestKind kind, uint64_t nanoseconds) {
  Place& place = TheProcess().places[NumberOfThread() % kPlaces];
  place.requests[static_cast<size_t>(kind)].Count(nanoseconds);
}

void CountError(int error) {
  if (error > 0 && error <= kMaxErrno) Add(&TheProcess().errors[static_cast<size_t>(error)], 1);
}

void CountSyncGroup(uint64_t size, uint64_t nanoseconds) {
  Process& process = TheProcess();
  const auto bucket = static_cast<size_t>(std::bit_width(std::max<uint64_t>(size, 1) - 1));
  Add(&process.sync_groups[std::min(bucket, kGroupBuckets - 1)], 1);
  Add(&process.syncs, size);
  process.disk_syncs.Count(nanoseconds);
}

void CountCollectorRun(uint64_t freed_bytes, uint64_t moved_bytes, uint64_t versions) {
  Process& process = TheProcess();
  Add(&process.runs, 1);
  Add(&process.freed, freed_bytes);
  Add(&process.moved, moved_bytes);
  Add(&process.versions, versions);
}

ProcessCounts CountsOfProcess() {
  const Process& process = TheProcess();
  ProcessCounts counts;
  for (const Place& place : process.places) {
    for (size_t i = 0; i < kRequestKinds; ++i) place.requests[i].AddTo(&counts.requests[i]);
  }
  for (size_t i = 0; i <= kMaxErrno; ++i) counts.errors[i] = Get(process.errors[i]);
  for (size_t i = 0; i < kGroupBuckets; ++i) counts.sync_groups[i] = Get(process.sync_groups[i]);
  counts.syncs = Get(process.syncs);
  process.disk_syncs.AddTo(&counts.disk_syncs);
  counts.collector_runs = Get(process.runs);
  counts.collector_freed_bytes = Get(process.freed);
  counts.collector_moved_bytes = Get(process.moved);
  counts.collector_dropped_versions = Get(process.versions);
  return counts;
}

}  // namespace rw
