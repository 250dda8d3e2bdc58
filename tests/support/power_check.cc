// What a disk that a power failure left has to show.
#include <errno.h>

#include <algorithm>
#include <fstream>

#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/power_world.h"

namespace rw::testing {
namespace {

constexpr uint64_t kHour = 3600 * ManualClock::kSecond;

void MakeEmptyBallast(const DiskImage& image, const std::filesystem::path& disk) {
  if (image.contains("root/store.json")) std::ofstream(disk / "root" / "ballast");
}

std::string Line(const std::string& name, bool snapshot, size_t bindings) {
  return name + (snapshot ? " snapshot" : " head") + ", bound " + std::to_string(bindings) + "\n";
}

std::string Line(const std::string& name, const std::string& label, Instant at) {
  return name + " mark " + label + " " + std::to_string(at.ns) + "\n";
}

}  // namespace

uint64_t PowerWorld::TimeAt(size_t events) const {
  uint64_t ns = times_.front().second;
  for (const auto& [from, now] : times_) {
    if (from > events) break;
    ns = now;
  }
  return ns;
}

std::string PowerWorld::DescribeCatalog(const Version& version) const {
  std::set<std::string> lines;
  for (const auto& [name, expected] : version.volumes)
    lines.insert(Line(name, expected.snapshot, expected.bindings));
  for (const auto& [name, marks] : version.marks) {
    for (const auto& [label, at] : marks) lines.insert(Line(name, label, at));
  }
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::string PowerWorld::DescribeCatalog(Store& store) {
  std::set<std::string> lines;
  for (const VolumeRecord& record : store.List()) {
    lines.insert(Line(record.name, record.fixed_at.has_value(), record.bindings.size()));
    if (record.fixed_at) continue;
    for (const rw::Mark& mark : store.Marks(record.name))
      lines.insert(Line(record.name, mark.label, mark.at));
  }
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

const PowerWorld::Version* PowerWorld::FindVersion(size_t events,
                                                   const std::string& catalog) const {
  for (size_t i = versions_.size(); i-- > 0;) {
    if (versions_[i].begun >= events && i > 0) continue;
    if (DescribeCatalog(versions_[i]) == catalog) return &versions_[i];
    if (versions_[i].done <= events) return nullptr;  // those before it are no longer allowed
  }
  return nullptr;
}

bool PowerWorld::Promised(const Version& version, const std::string& name, Instant at,
                          uint64_t now) const {
  if (at.ns + profile_.retention_seconds * ManualClock::kSecond >= now) return true;
  const auto marks = version.marks.find(name);
  return marks != version.marks.end() &&
         std::any_of(marks->second.begin(), marks->second.end(),
                     [at](const auto& mark) { return mark.second == at; });
}

std::string PowerWorld::CheckViewAt(Store& store, const Version& version, const std::string& name,
                                    Instant at, uint64_t now) {
  try {
    ++views_;
    const auto view = store.OpenAt(name, at);
    return twins_[version.volumes.at(name).twin]->CheckView(*view, at);
  } catch (const Refused& refused) {
    if (refused.error() == ERANGE && !Promised(version, name, at, now)) return {};
    return name + " at " + std::to_string(at.ns) + ": " + refused.what();
  }
}

std::string PowerWorld::CheckHistory(Store& store, const Version& version, const std::string& name,
                                     Instant newest, uint64_t now, Random& random) {
  const auto& instants = twins_[version.volumes.at(name).twin]->model.instants();
  const auto end = std::upper_bound(instants.begin(), instants.end(), newest);
  const auto count = static_cast<size_t>(end - instants.begin());
  std::set<size_t> chosen = {0, count - 1, count - std::min<size_t>(count, 2)};
  chosen.insert(random.Below(count));
  for (const size_t i : chosen) {
    std::string problem = CheckViewAt(store, version, name, instants[i], now);
    if (!problem.empty()) return problem;
  }
  const auto marks = version.marks.find(name);
  if (marks == version.marks.end()) return {};
  for (const auto& [label, at] : marks->second) {
    std::string problem = CheckViewAt(store, version, name, at, now);
    if (!problem.empty()) return "mark " + label + ": " + problem;
  }
  return {};
}

std::string PowerWorld::CheckVolume(Store& store, const Version& version, const std::string& name,
                                    uint64_t now, Random& random, Found* found) {
  const Expected& expected = version.volumes.at(name);
  const Twin& twin = *twins_[expected.twin];
  const auto volume = store.OpenVolume(name);
  ++views_;
  if (expected.snapshot) return twin.CheckView(*volume, twin.model.instants()[0]);
  const Instant newest = volume->last_instant();
  if (newest < twin.model.instants()[0]) return name + " begins too early";
  found->newest[expected.twin] = newest;
  std::string problem = twin.CheckView(*volume, newest);
  if (!problem.empty()) return "head of " + problem;
  return CheckHistory(store, version, name, newest, now, random);
}

// Uses what is left, closes it in order, and looks again: at what was added and at what was there.
std::string PowerWorld::GoOn(const StoreOptions& options, std::unique_ptr<Store> store,
                             const Version& version, const Found& found, ManualClock& clock,
                             Random& random) {
  RandomOperations operations(random.Next(), profile_.operations);
  std::map<std::string, Twin> heads;
  std::string problem;
  for (const auto& [name, expected] : version.volumes) {
    if (expected.snapshot) continue;
    const Twin& before = *twins_[expected.twin];
    const Instant newest = found.newest.at(expected.twin);
    Twin twin{name, store->OpenVolume(name), ReferenceModel::CloneOf(before.model, newest, newest),
              before.inos, before.exact_usage && before.model.UnlinkedAt(newest).empty()};
    for (uint64_t i = random.Below(12); i > 0 && problem.empty(); --i) {
      clock.Forward(random.Below(ManualClock::kSecond));
      problem = twin.Step(operations.Next(twin.model));
    }
    if (problem.empty() && twin.volume->last_instant() > newest &&
        twin.volume->last_instant() <= found.now)
      problem = name + ": an operation got an instant that was given out before";
    if (problem.empty()) problem = twin.CheckView(*twin.volume, kInstantMax);
    heads.emplace(name, std::move(twin));
  }
  if (problem.empty() && random.OneIn(2)) store->Collect();
  for (auto& [name, twin] : heads) twin.volume.reset();
  store.reset();
  if (!problem.empty()) return problem;
  store = Store::Open(options);
  const uint64_t now = std::max(found.now.ns, clock.now());
  for (const auto& [name, expected] : version.volumes) {
    if (expected.snapshot) {
      const Twin& twin = *twins_[expected.twin];
      problem = twin.CheckView(*store->OpenVolume(name), twin.model.instants()[0]);
    } else {
      problem = heads.at(name).CheckView(*store->OpenVolume(name), kInstantMax);
      if (problem.empty())
        problem = CheckHistory(*store, version, name, found.newest.at(expected.twin), now, random);
    }
    if (!problem.empty()) return problem;
  }
  return {};
}

PowerWorld::Found PowerWorld::Look(size_t events, const DiskImage& image, Random& random) {
  Found found;
  const std::filesystem::path disk = directory_.path() / "look";
  WriteImage(image, disk);
  MakeEmptyBallast(image, disk);
  const uint64_t now = TimeAt(events);
  ManualClock clock(random.OneIn(3) ? now : now - kHour);
  RecordingFiles files(nullptr);
  const StoreOptions options = OptionsOf(disk, clock, nullptr, &files);
  try {
    auto store = Store::Open(options);
    found.catalog = DescribeCatalog(*store);
    const Version* version = FindVersion(events, found.catalog);
    if (version == nullptr) return found;  // CheckPromises says so
    for (const auto& [name, expected] : version->volumes) {
      found.problem = CheckVolume(*store, *version, name, now, random, &found);
      if (!found.problem.empty()) return found;
    }
    found.now = store->Now();
    if (!random.OneIn(4)) return found;
    found.problem = GoOn(options, std::move(store), *version, found, clock, random);
    if (!found.problem.empty()) found.problem = "going on: " + found.problem;
  } catch (const std::exception& error) {
    found.problem = error.what();
  }
  return found;
}

std::string PowerWorld::CheckPromises(size_t events, const Found& found) const {
  if (!found.problem.empty()) return found.problem;
  const Version* version = FindVersion(events, found.catalog);
  if (version == nullptr) return "a catalog that there cannot be:\n" + found.catalog;
  for (const Synced& synced : synced_) {
    if (synced.done > events) continue;
    const auto newest = found.newest.find(synced.twin);
    if (newest != found.newest.end() && newest->second < synced.until) {
      return twins_[synced.twin]->name + ": synced until " + std::to_string(synced.until.ns) +
             ", there is what was until " + std::to_string(newest->second.ns);
    }
  }
  for (const auto& [done, now] : nows_) {
    if (done <= events && found.now <= now)
      return "the clock went back behind " + std::to_string(now.ns);
  }
  return {};
}

std::string PowerWorld::Check(size_t events, const DiskImage& image, Random& random) {
  const uint64_t hash = HashOf(image);
  auto found = found_.find(hash);
  if (found == found_.end()) found = found_.emplace(hash, Look(events, image, random)).first;
  return CheckPromises(events, found->second);
}

std::unique_ptr<DiskLog> PowerWorld::RecordRecovery(size_t events, const DiskImage& image) {
  const std::filesystem::path disk = directory_.path() / "look";
  WriteImage(image, disk);
  MakeEmptyBallast(image, disk);
  auto log = std::make_unique<DiskLog>(disk, image);
  RecordingFiles files(log.get());
  ManualClock clock(TimeAt(events));
  Store::Open(OptionsOf(disk, clock, log.get(), &files));
  return log;
}

}  // namespace rw::testing
