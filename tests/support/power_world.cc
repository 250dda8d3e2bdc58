#include "tests/support/power_world.h"

#include <errno.h>

#include <algorithm>
#include <fstream>

#include "fs/volume.h"
#include "metadata/refused.h"

namespace rw::testing {
namespace {

constexpr size_t kMaxVolumes = 5;

CreateRequest Request(const std::string& name, SourceKind kind, const std::string& source) {
  CreateRequest request;
  request.name = name;
  request.source_kind = kind;
  request.source = source;
  return request;
}

// Of space that is kept in reserve: it means nothing, and takes time.
void EmptyBallast(const std::filesystem::path& root) {
  const auto path = root / "ballast";
  if (std::filesystem::exists(path)) std::filesystem::resize_file(path, 0);
}

DiskImage ReadImage(const std::filesystem::path& directory) {
  DiskImage image;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string path = entry.path().lexically_relative(directory).string();
    if (entry.is_directory()) {
      image[path] = nullptr;
      continue;
    }
    std::ifstream in(entry.path(), std::ios::binary);
    image[path] = std::make_shared<std::string>(std::istreambuf_iterator<char>(in),
                                                std::istreambuf_iterator<char>());
  }
  return image;
}

}  // namespace

std::filesystem::path FastDirectory() {
  std::error_code error;
  const std::filesystem::path memory = "/dev/shm";
  const auto space = std::filesystem::space(memory, error);
  if (!error && space.available > (uint64_t{256} << 20)) return memory;
  return std::filesystem::temp_directory_path();
}

PowerWorld::PowerWorld(uint64_t seed, const PowerProfile& profile)
    : profile_(profile),
      random_(seed),
      operations_(seed + 1, profile.operations),
      directory_(FastDirectory()) {
  std::filesystem::create_directory(directory_.path() / "disk");
  log_ = std::make_unique<DiskLog>(directory_.path() / "disk", DiskImage{});
  files_ = std::make_unique<RecordingFiles>(log_.get());
  versions_.emplace_back();
  times_.emplace_back(0, clock_.now());
}

PowerWorld::PowerWorld(const PowerWorld& base)
    : profile_(base.profile_),
      random_(base.random_),
      operations_(base.operations_),
      directory_(FastDirectory()),
      clock_(base.clock_.now()),
      versions_(base.versions_),
      synced_(base.synced_),
      times_(base.times_),
      nows_(base.nows_),
      next_name_(base.next_name_) {
  WriteImage(base.log_->base(), directory_.path() / "disk");
  log_ = std::make_unique<DiskLog>(directory_.path() / "disk", base.log_->base());
  files_ = std::make_unique<RecordingFiles>(log_.get());
  for (const auto& twin : base.twins_) twins_.push_back(std::make_unique<Twin>(*twin));
}

PowerWorld::~PowerWorld() {
  for (const auto& twin : twins_) twin->volume.reset();
  store_.reset();
}

StoreOptions PowerWorld::OptionsOf(const std::filesystem::path& disk, ManualClock& clock,
                                   DiskLog* log, RecordingFiles* files) const {
  StoreOptions options(disk / "root", clock.AsFunction(), files);
  options.index.files = MakeRecordingFileSystem(log);
  options.index.memtable_bytes = profile_.memtable_bytes;
  options.max_segment_bytes = profile_.max_segment_bytes;
  options.collector.background = false;
  options.collector.reserve_bytes = 0;
  options.collector.max_chain = profile_.max_chain;
  options.defaults = {{"retention", std::to_string(profile_.retention_seconds) + "s"},
                      {"keep", "none"},
                      {"trash", "0"}};
  return options;
}

std::string PowerWorld::Open() {
  store_ = Store::Open(OptionsOf(directory_.path() / "disk", clock_, log_.get(), files_.get()));
  EmptyBallast(directory_.path() / "disk" / "root");
  for (const auto& [name, expected] : versions_.back().volumes) {
    Twin& twin = *twins_[expected.twin];
    if (expected.snapshot) continue;
    twin.volume = store_->OpenVolume(name);
    std::string problem = twin.CheckView(*twin.volume, kInstantMax);
    if (!problem.empty()) return "opened in order: " + problem;
  }
  return {};
}

void PowerWorld::Close() {
  std::vector<Synced> closed;
  for (const auto& [name, expected] : versions_.back().volumes) {
    if (expected.snapshot) continue;
    closed.push_back({0, expected.twin, twins_[expected.twin]->volume->last_instant()});
    twins_[expected.twin]->volume.reset();
  }
  store_.reset();
  for (Synced& synced : closed) {
    synced.done = log_->size();
    synced_.push_back(synced);
  }
}

void PowerWorld::Rebase() {
  log_ =
      std::make_unique<DiskLog>(directory_.path() / "disk", ReadImage(directory_.path() / "disk"));
  files_ = std::make_unique<RecordingFiles>(log_.get());
  versions_ = {versions_.back()};
  versions_[0].begun = versions_[0].done = 0;
  for (Synced& synced : synced_) synced.done = 0;
  times_ = {{0, clock_.now()}};
  for (auto& [done, now] : nows_) done = 0;
  found_.clear();
}

void PowerWorld::Tick() {
  clock_.Forward(random_.Below(2 * ManualClock::kSecond));
  times_.emplace_back(log_->size(), clock_.now());
}

std::string PowerWorld::AnyName(bool writable) {
  std::vector<std::string> names;
  for (const auto& [name, expected] : versions_.back().volumes) {
    if (!writable || !expected.snapshot) names.push_back(name);
  }
  return names.empty() ? "" : random_.PickFrom(names);
}

Twin& PowerWorld::TwinOf(const std::string& name) {
  return *twins_[versions_.back().volumes.at(name).twin];
}

std::string PowerWorld::FreeName() { return "v" + std::to_string(next_name_++); }

Instant PowerWorld::AnyInstant(const Twin& twin) {
  const auto& instants = twin.model.instants();
  const size_t recent = std::min<size_t>(instants.size(), random_.OneIn(3) ? 1000 : 40);
  const Instant at = instants[instants.size() - 1 - random_.Below(recent)];
  return random_.OneIn(4) && at > instants.front() ? Before(at) : at;
}

size_t PowerWorld::AddTwin(Twin twin) {
  twins_.push_back(std::make_unique<Twin>(std::move(twin)));
  return twins_.size() - 1;
}

std::string PowerWorld::Do(const std::string& name, const Operation& operation) {
  Tick();
  return TwinOf(name).Step(operation);
}

std::string PowerWorld::Operate() {
  const std::string name = AnyName(true);
  return Do(name, operations_.Next(TwinOf(name).model));
}

std::string PowerWorld::Sync(const std::string& name) {
  const size_t twin = versions_.back().volumes.at(name).twin;
  const Instant until = twins_[twin]->volume->last_instant();
  twins_[twin]->volume->Sync();
  synced_.push_back({log_->size(), twin, until});
  return {};
}

std::string PowerWorld::Restart() {
  Close();
  return Open();
}

std::string PowerWorld::Event() {
  Tick();
  const size_t volumes = versions_.back().volumes.size();
  switch (random_.Below(profile_.collect ? 16 : 13)) {
    case 0:
      return volumes < kMaxVolumes ? AddVolume(FreeName()) : Remove();
    case 1:
      return volumes < kMaxVolumes ? Clone() : Remove();
    case 2:
      return volumes < kMaxVolumes ? Snapshot() : Remove();
    case 3:
      return volumes <= kMaxVolumes ? RollBack() : Remove();
    case 4:
      return volumes > 2 ? Remove() : Mark();
    case 5:
      return Mark();
    case 6:
      return RemoveMark();
    case 7:
      return Restart();
    case 8:
      nows_.emplace_back(0, store_->Now());
      nows_.back().first = log_->size();
      return {};
    case 9:
    case 10:
    case 11:
    case 12:
      return Sync(AnyName(true));
    default:
      store_->Collect();
      return {};
  }
}

std::string PowerWorld::Change(const std::function<void(Version&)>& change) {
  Version version = versions_.back();
  version.begun = log_->size();
  try {
    change(version);
  } catch (const Refused& refused) {
    if (refused.error() != ERANGE) throw;
    return {};  // an instant that is no longer kept
  }
  version.done = log_->size();
  versions_.push_back(std::move(version));
  return {};
}

std::string PowerWorld::AddVolume(const std::string& name) {
  return Change([&](Version& version) {
    store_->Create(Request(name, SourceKind::kNone, {}));
    auto volume = store_->OpenVolume(name);
    ReferenceModel model(store_->Find(name)->created, volume->FindInode(kRootIno).value());
    const size_t twin =
        AddTwin({name, std::move(volume), std::move(model), {{kModelRoot, kRootIno}}, true});
    version.volumes[name] = {.twin = twin};
  });
}

std::string PowerWorld::Clone() {
  const std::string source_name = AnyName(false);
  const Twin& source = TwinOf(source_name);
  const bool of_snapshot = versions_.back().volumes.at(source_name).snapshot;
  CreateRequest request = Request(FreeName(), SourceKind::kCloneOf, source_name);
  if (!of_snapshot && random_.OneIn(2)) request.at = AnyInstant(source);
  return Change([&](Version& version) {
    store_->Create(request);
    const auto record = store_->Find(request.name);
    const Instant at = of_snapshot ? source.model.instants()[0] : *record->source_at;
    Twin twin{request.name, store_->OpenVolume(request.name),
              ReferenceModel::CloneOf(source.model, at, record->created), source.inos,
              source.exact_usage && source.model.UnlinkedAt(at).empty()};
    version.volumes[request.name] = {.twin = AddTwin(std::move(twin))};
  });
}

std::string PowerWorld::Snapshot() {
  const std::string source_name = AnyName(false);
  const Twin& source = TwinOf(source_name);
  CreateRequest request = Request(FreeName(), SourceKind::kSnapshotOf, source_name);
  if (!versions_.back().volumes.at(source_name).snapshot && random_.OneIn(2))
    request.at = AnyInstant(source);
  return Change([&](Version& version) {
    store_->Create(request);
    const Instant at = *store_->Find(request.name)->fixed_at;
    Twin twin{request.name, nullptr, ReferenceModel::CloneOf(source.model, at, at), source.inos,
              source.exact_usage && source.model.UnlinkedAt(at).empty()};
    version.volumes[request.name] = {.twin = AddTwin(std::move(twin)), .snapshot = true};
  });
}

std::string PowerWorld::RollBack() {
  const std::string name = AnyName(true);
  Twin& twin = TwinOf(name);
  if (random_.OneIn(2)) {
    const auto unlinked = twin.model.unlinked();
    for (const ModelIno ino : unlinked) {
      Operation forget;
      forget.ino = ino;
      std::string problem = Do(name, forget);
      if (!problem.empty()) return problem;
    }
  }
  CreateRequest request = Request(FreeName(), SourceKind::kRollback, name);
  request.at = AnyInstant(twin);
  const Instant to = *request.at;
  twin.volume.reset();
  std::string problem = Change([&](Version& version) {
    store_->Create(request);
    const Instant at = *store_->Find(request.name)->fixed_at;
    Twin undo{request.name, nullptr, ReferenceModel::CloneOf(twin.model, at, at), twin.inos,
              twin.exact_usage && twin.model.UnlinkedAt(at).empty()};
    version.volumes[request.name] = {.twin = AddTwin(std::move(undo)), .snapshot = true};
    ++version.volumes[name].bindings;
    twin.exact_usage &= twin.model.UnlinkedAt(to).empty();
    twin.model.RollBack(to, store_->Find(name)->bindings.back().since);
  });
  twin.volume = store_->OpenVolume(name);
  if (problem.empty()) problem = twin.CheckView(*twin.volume, kInstantMax);
  return problem;
}

std::string PowerWorld::Remove() {
  const std::string name = AnyName(false);
  const auto& volumes = versions_.back().volumes;
  const auto writable = std::count_if(volumes.begin(), volumes.end(),
                                      [](const auto& v) { return !v.second.snapshot; });
  if (writable < 2 && !volumes.at(name).snapshot) return {};
  TwinOf(name).volume.reset();
  return Change([&](Version& version) {
    store_->Remove(name);
    version.volumes.erase(name);
    version.marks.erase(name);
  });
}

std::string PowerWorld::Mark() {
  std::vector<std::string> names = {AnyName(true)};
  std::optional<Instant> at;
  if (random_.OneIn(2)) {
    at = AnyInstant(TwinOf(names[0]));
  } else if (random_.OneIn(2)) {
    names.push_back(AnyName(true));
  }
  const std::string label = "m" + FreeName();
  return Change([&](Version& version) {
    const Instant marked = store_->SetMark(names, label, "", at);
    for (const std::string& name : names) version.marks[name][label] = marked;
  });
}

std::string PowerWorld::RemoveMark() {
  const std::string name = AnyName(true);
  const auto& all = versions_.back().marks;
  if (!all.contains(name) || all.at(name).empty()) return Mark();
  const std::string label = random_.PickFrom(all.at(name)).first;
  return Change([&](Version& version) {
    store_->RemoveMark(name, label);
    version.marks[name].erase(label);
  });
}

Twin& PowerWorld::twin(const std::string& name) { return TwinOf(name); }

}  // namespace rw::testing
