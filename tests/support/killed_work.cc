// What the killed process does, and how its parent repeats it (killed_process.h).
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <mutex>
#include <thread>

#include "metadata/refused.h"
#include "tests/support/killed_process.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

std::vector<Acknowledgement> ReadLog(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<Acknowledgement> log;
  for (Acknowledgement one; in.read(reinterpret_cast<char*>(&one), sizeof(one));)
    log.push_back(one);
  return log;
}

Twin TwinOf(Store& store, const std::string& name) {
  const Instant created = store.Find(name)->created;
  const auto root = store.OpenAt(name, created)->FindInode(kRootIno);
  return {name, nullptr, ReferenceModel(created, *root), {{kModelRoot, kRootIno}}, true};
}

class Worker {
 public:
  Worker(const KilledRun& run, int fd) : run_(run), fd_(fd), store_(Store::Open(OptionsOf(run))) {}

  void OperateForever(LoggedVolume& volume, uint32_t number) {
    volume.BeginRun(run_.run);
    Twin& twin = volume.twin();
    while (!failed()) {
      const Operation operation = volume.Next();
      Acknowledgement done{.run = run_.run, .who = number};
      std::string problem;
      done.error = ApplyToVolume(*twin.volume, twin.inos, operation, &done.created, &problem);
      done.instant = twin.volume->last_instant().ns;
      Acknowledge(done);
      if (problem.empty()) problem = volume.Take(operation, done);
      if (!problem.empty()) Fail(operation.Describe() + ": " + problem);
    }
  }

  void MakeVolumesForever() {
    for (uint64_t number = 0; !failed(); ++number) {
      const bool clone = number % 2 == 1;
      CreateRequest request;
      request.name = MadeName(run_.run, number);
      request.source_kind = clone ? SourceKind::kCloneOf : SourceKind::kSnapshotOf;
      request.source = KilledVolumeName(0);
      store_->Create(request);
      const auto record = store_->Find(request.name);
      const Instant at = clone ? *record->source_at : *record->fixed_at;
      Acknowledge({run_.run, Acknowledgement::kMade, 0, at.ns, number});
      if (number % 5 == 2) {
        store_->Remove(request.name);
        Acknowledge({run_.run, Acknowledgement::kRemoved, 0, at.ns, number});
      }
      if (number % 5 == 3 && clone) {
        request.source = request.name;
        request.name += "-before";
        request.source_kind = SourceKind::kRollback;
        request.at = record->created;
        store_->Create(request);
        Acknowledge({run_.run, Acknowledgement::kRolledBack, 0, at.ns, number});
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  }

  std::string Run() {
    std::vector<std::unique_ptr<LoggedVolume>> volumes;
    const auto log = ReadLog(run_.log);
    for (uint32_t number = 0; number < kKilledVolumes; ++number) {
      volumes.push_back(std::make_unique<LoggedVolume>(*store_, number, run_.seed));
      if (std::string problem = volumes.back()->Replay(log); !problem.empty()) return problem;
      volumes.back()->twin().volume = store_->OpenVolume(KilledVolumeName(number));
    }
    std::vector<std::thread> threads;
    for (uint32_t number = 0; number < kKilledVolumes; ++number) {
      threads.emplace_back(
          [&, number] { Guarded([&] { OperateForever(*volumes[number], number); }); });
    }
    threads.emplace_back([&] { Guarded([&] { MakeVolumesForever(); }); });
    if (run_.collect) {
      threads.emplace_back([&] {
        Guarded([&] {
          while (!failed()) store_->Collect();
        });
      });
    }
    for (std::thread& thread : threads) thread.join();
    return problem_;
  }

 private:
  template <typename Work>
  void Guarded(const Work& work) {
    try {
      work();
    } catch (const std::exception& error) {
      Fail(error.what());
    }
  }
  void Acknowledge(const Acknowledgement& done) {
    if (write(fd_, &done, sizeof(done)) != sizeof(done)) Fail("cannot write to the pipe");
  }
  void Fail(const std::string& problem) {
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) problem_ = problem;
  }
  bool failed() {
    const std::lock_guard lock(mutex_);
    return !problem_.empty();
  }

  const KilledRun run_;
  const int fd_;
  const std::unique_ptr<Store> store_;
  std::mutex mutex_;
  std::string problem_;  // guarded by mutex_
};

}  // namespace

StoreOptions OptionsOf(const KilledRun& run) {
  StoreOptions options(run.root, SystemNanoseconds);
  options.collector.background = false;
  if (!run.collect) return options;
  options.max_segment_bytes = 256 << 10;
  options.collector.reserve_bytes = 0;
  options.defaults = {{"retention", "300ms"}, {"keep", "none"}, {"trash", "0"}};
  return options;
}

std::string KilledVolumeName(uint32_t number) { return "volume-" + std::to_string(number); }

std::string MadeName(uint32_t run, uint64_t number) {
  return "made-" + std::to_string(run) + "-" + std::to_string(number);
}

LoggedVolume::LoggedVolume(Store& store, uint32_t number, uint64_t seed)
    : number_(number), seed_(seed), twin_(TwinOf(store, KilledVolumeName(number))) {
  newest_ = twin_.model.instants().back();
}

void LoggedVolume::BeginRun(uint32_t run) {
  run_ = run;
  OperationProfile profile;
  profile.max_write = 50'000;
  operations_ = std::make_unique<RandomOperations>(seed_ + run * 1000 + number_, profile);
}

std::string LoggedVolume::Take(const Operation& operation, const Acknowledgement& done) {
  Instant at{done.instant};
  newest_ = std::max(newest_, at);
  // To forget an inode may take no instant, since nothing that can be seen changes.
  if (operation.kind == OperationKind::kForget && at <= twin_.model.instants().back()) {
    at = {twin_.model.instants().back().ns + 1};
  }
  ModelIno created = 0;
  const int expected = twin_.model.Apply(operation, at, &created);
  if (created != 0) twin_.inos[created] = done.created;
  if (SameOutcome(twin_.model, operation, expected, static_cast<int>(done.error))) return {};
  return operation.Describe() + ": errno " + std::to_string(done.error) + ", expected " +
         std::to_string(expected);
}

std::string LoggedVolume::ResolveLast(std::vector<Acknowledgement>& done) {
  const Operation operation = Next();
  const Instant newest = twin_.volume->last_instant();
  Acknowledgement last{.run = run_, .who = number_, .instant = newest.ns};
  if (operation.kind == OperationKind::kForget) {
    if (twin_.volume->FindInode(twin_.inos.at(operation.ino)).has_value()) return {};
  } else if (newest < newest_) {
    return "acknowledged operations are lost: the newest instant is " + std::to_string(newest.ns) +
           ", acknowledged was " + std::to_string(newest_.ns);
  } else if (newest == newest_) {
    return {};
  }
  const auto created = FindCreated(*twin_.volume, twin_.inos, operation);
  if (!created && (operation.kind == OperationKind::kCreate ||
                   operation.kind == OperationKind::kCreateUnnamed)) {
    return operation.Describe() + ": done, but not there";
  }
  last.created = created.value_or(0);
  done.push_back(last);
  return Take(operation, last);
}

std::string LoggedVolume::Replay(const std::vector<Acknowledgement>& log) {
  for (const Acknowledgement& done : log) {
    if (done.who != number_) continue;
    if (operations_ == nullptr || run_ != done.run) BeginRun(done.run);
    if (std::string problem = Take(Next(), done); !problem.empty()) return problem;
  }
  return {};
}

std::string WorkUntilKilled(const KilledRun& run, int fd) { return Worker(run, fd).Run(); }

}  // namespace rw::testing
