#include "plugin/volumes.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "fs/figures.h"
#include "fs/volume.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/similar.h"
#include "metadata/time_text.h"
#include "plugin/mount_info.h"
#include "plugin/options.h"
#include "plugin/trusted_directory.h"
#include "plugin/volumes_work.h"

namespace rw {
namespace {

constexpr char kCommandLinePrefix[] = "cli:";

[[noreturn]] void RefuseAmbiguous(const std::string& label, const std::string& first, Instant at,
                                  const std::string& second, Instant also_at) {
  throw Refused(EINVAL, "mark " + Quoted(label) + " is " + FormatInstant(at) + " of " + first +
                            ", but " + FormatInstant(also_at) + " of " + second +
                            "; give a time that is one for all");
}

[[noreturn]] void RefuseUnknown(const std::string& name) {
  throw Refused(ENOENT, "no such volume: " + Quoted(name));
}

// Opens and locks the directory that mountpoints are made in.
int LockDirectory(const std::filesystem::path& directory) {
  UseTrustedDirectory(directory, "mounts");
  int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    throw Refused(errno,
                  "cannot use " + directory.string() + " for mounts: " + std::strerror(errno));
  }
  // Containers get their bind mounts from root; nobody else may go in by this path.
  fchmod(fd, 0700);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    throw Refused(EBUSY, "cannot use " + directory.string() +
                             " for mounts: another rewind daemon uses it; give this one another "
                             "directory with --mounts");
  }
  return fd;
}

// Mount sources are shown in tables with columns and passed through option lists: only plain
// characters.
std::string PlainName(const std::string& name) {
  std::string plain;
  for (char c : name) {
    bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    c == '-' || c == '_' || c == '.';
    plain += is_plain ? c : '_';
  }
  return plain;
}

// What this thread has counted.
struct Counted {
  std::string volume;
  Instant shown;
  std::string id;
  int change = 0;
};
thread_local std::optional<Counted> unanswered_here;

// Closes the descriptors unless they are released.
class OwnedRemains {
 public:
  explicit OwnedRemains(SessionRemains remains) : remains_(std::move(remains)) {}
  ~OwnedRemains() {
    if (!remains_) return;
    close(remains_->device);
    close(remains_->board);
  }
  OwnedRemains(const OwnedRemains&) = delete;
  OwnedRemains& operator=(const OwnedRemains&) = delete;
  SessionRemains Release() { return *std::exchange(remains_, std::nullopt); }

 private:
  std::optional<SessionRemains> remains_;
};

std::string Describe(const std::vector<MountHolder>& holders, const std::string& name) {
  std::string by;
  bool docker = false;
  bool command_line = false;
  for (const MountHolder& holder : holders) {
    if (!by.empty()) by += ", ";
    if (holder.id.starts_with(kCommandLinePrefix)) {
      command_line = true;
      by += "rewind mount on " + holder.id.substr(std::strlen(kCommandLinePrefix));
    } else {
      docker = true;
      by += "container mount " + holder.id;
    }
  }
  by += "; ";
  if (docker) {
    by += "stop what uses it (docker ps --filter volume=" + name +
          "; if nothing does: rewind release " + name + ")";
  }
  if (docker && command_line) by += " and ";
  if (command_line) by += "rewind umount the directory";
  return by + " first";
}

// Notes are shown in tables, one line each.
void CheckNote(const std::string& note) {
  constexpr size_t kMaxNoteBytes = 1000;
  std::string without_slashes = note;  // unlike names, notes may have them
  std::erase(without_slashes, '/');
  const char* flaw = without_slashes.empty() ? nullptr : FlawOfName(without_slashes);
  if (note.size() > kMaxNoteBytes) flaw = "it is longer than 1000 bytes";
  if (flaw != nullptr) {
    throw Refused(EINVAL, "note " + Quoted(note) + " refused: " + flaw +
                              "; accepted is one line of up to 1000 bytes of UTF-8");
  }
}

}  // namespace

Volumes::Volumes(Store& store, VolumesOptions options)
    : store_(store), options_(std::move(options)), directory_fd_(LockDirectory(options_.mounts)) {
  for (const std::string& name : options_.removed)
    removals_[name] = Clock::now() + options_.repeat_patience;
  std::set<std::string> inherited;
  for (const KeptMount& kept : options_.inherited) {
    if (Inherit(kept)) inherited.insert(kept.mountpoint);
  }
  const std::filesystem::path directory = std::filesystem::canonical(options_.mounts);
  if (const int count = DetachBelow(directory, inherited); count > 0) {
    spdlog::info("detached {} mounts that an earlier run left under {}", count,
                 options_.mounts.string());
  }
}

// False if the mount has to end.
bool Volumes::Inherit(KeptMount kept) {
  const std::string mountpoint = kept.mountpoint;
  try {
    TakeOver(std::move(kept));
    return true;
  } catch (const std::exception& error) {
    spdlog::error("cannot go on with the mount at {}: {}", mountpoint, error.what());
  }
  if (options_.keeper != nullptr) options_.keeper->Drop(mountpoint);
  return false;
}

void Volumes::TakeOver(KeptMount kept) {
  OwnedRemains remains(kept.remains);
  const std::optional<MountEntry> entry = FindMountAt(kept.mountpoint);
  if (!entry || entry->device != kept.device) throw Refused(ENOENT, "it was unmounted");
  const std::optional<VolumeRecord> record = store_.Find(kept.name);
  if (!record || record->id != kept.volume) throw Refused(ENOENT, "its volume is gone");
  Mounted mounted;
  std::shared_ptr<Volume> volume =
      kept.at ? store_.OpenAt(kept.name, *kept.at) : store_.OpenVolume(kept.name);
  SessionOptions session_options = OptionsOf(*record, kept.mountpoint, kept.source);
  session_options.inherited = remains.Release();
  mounted.session = options_.mount(std::move(volume), std::move(session_options));
  mounted.result = {kept.mountpoint, kept.device};
  mounted.counts = std::move(kept.counts);
  mounted.doubtful = std::move(kept.unanswered);
  mounted.doubted_until = Clock::now() + options_.repeat_patience;
  const std::string name = kept.name;
  const Instant key = kept.at.value_or(kInstantMax);
  mounted.kept = std::move(kept);
  Work work(*this, name);
  const std::lock_guard lock(mutex_);
  work.entry().mounted.emplace(key, std::move(mounted));
}

Volumes::~Volumes() {
  UnmountAll();
  close(directory_fd_);
}

void Volumes::Create(const std::string& name, const std::map<std::string, std::string>& options) {
  // The same again is success, whatever has become of the source meanwhile.
  if (const auto existing = store_.Find(name); existing && existing->options == options) return;
  CreateRequest request = ParseVolumeOptions(
      name, options,
      [this](const std::string& volume, std::string_view time) { return InstantOf(volume, time); });
  if (request.source_kind != SourceKind::kRollback) {
    store_.Create(request);
    return;
  }
  Work work(*this, request.source);
  // A repeated request whose work is done is the store's to recognise, and changes nothing that is
  // mounted.
  if (!store_.Find(name)) RefuseHeld(work, "cannot roll back " + request.source, request.source);
  store_.Create(request);
}

void Volumes::RefuseHeld(const Work& work, const std::string& what, const std::string& name) const {
  std::vector<MountHolder> holders = HoldersOf(work.entry());
  // Whoever looks at a fixed instant goes on seeing it, whatever the name is bound to.
  std::erase_if(holders, [](const MountHolder& holder) { return holder.at.has_value(); });
  if (holders.empty()) return;
  throw Refused(EBUSY, what + ": mounted by " + Describe(holders, name));
}

void Volumes::Remove(const std::string& name) { Remove(Work(*this, name), name); }

void Volumes::RemoveOrRepeat(const std::string& name) {
  const Work work(*this, name);
  if (store_.Find(name) || !WasJustRemoved(name)) Remove(work, name);
}

void Volumes::Remove(const Work& work, const std::string& name) {
  std::vector<MountHolder> holders = HoldersOf(work.entry());
  if (!holders.empty()) {
    throw Refused(EBUSY, "cannot remove " + name + ": mounted by " + Describe(holders, name));
  }
  if (!store_.Find(name)) RefuseUnknown(name);
  {
    const std::lock_guard lock(mutex_);
    removals_[name] = Clock::now() + options_.repeat_patience;
  }
  // Before it is done: this process may end right after it.
  if (options_.keeper != nullptr) options_.keeper->PutRemoval(name);
  store_.Remove(name);
}

bool Volumes::WasJustRemoved(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = removals_.find(name);
  return found != removals_.end() && Clock::now() < found->second;
}

void Volumes::ForgetRemovals() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    for (const auto& [name, until] : removals_) {
      if (now >= until) names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    const Work work(*this, name);
    if (options_.keeper != nullptr) options_.keeper->DropRemoval(name);
    const std::lock_guard lock(mutex_);
    removals_.erase(name);
  }
}

MountResult Volumes::Mount(const std::string& name, const std::string& id,
                           const std::optional<std::string>& at) {
  std::optional<Instant> shown;
  if (at) shown = InstantOf(name, *at);
  Work work(*this, name);
  std::optional<VolumeRecord> record = store_.Find(name);
  if (!record) RefuseUnknown(name);
  std::map<Instant, Mounted>& mounted = work.entry().mounted;
  Instant key = shown.value_or(kInstantMax);

  Mounted dead;
  {
    std::unique_lock lock(mutex_);
    if (stopping_) throw Refused(ESHUTDOWN, "cannot mount " + name + ": the daemon is stopping");
    auto found = mounted.find(key);
    if (found != mounted.end()) {
      if (found->second.session->alive()) {
        Count(&found->second, id, 1);
        const KeptMount kept = KeptOf(found->second);
        MountResult result = found->second.result;
        lock.unlock();
        Keep(kept);
        if (!shown) NoteMount(name, id);
        return result;
      }
      dead = std::move(found->second);
      mounted.erase(found);
    }
  }
  std::map<std::string, int> counts = std::move(dead.counts);
  if (dead.session != nullptr) {
    spdlog::warn("{} was unmounted from outside; mounting it again", name);
    Unmount(std::move(dead));
  }
  Mounted made = MakeMount(*record, shown);
  made.counts = std::move(counts);
  Count(&made, id, 1);
  MountResult result = made.result;
  Keep(KeptOf(made), true);
  if (!shown) NoteMount(name, id);
  std::lock_guard lock(mutex_);
  mounted.emplace(key, std::move(made));
  return result;
}

Volumes::Mounted Volumes::MakeMount(const VolumeRecord& record, std::optional<Instant> at) {
  std::string directory = std::to_string(record.id);
  std::string source = kSourcePrefix + PlainName(record.name) + ":" + directory;
  if (at) {
    directory += "@" + std::to_string(at->ns);
    source += "@" + FormatInstant(*at);
  }
  std::filesystem::path mountpoint = std::filesystem::canonical(options_.mounts) / directory;
  std::filesystem::create_directory(mountpoint);
  Mounted mounted;
  try {
    std::shared_ptr<Volume> volume =
        at ? store_.OpenAt(record.name, *at) : store_.OpenVolume(record.name);
    mounted.session =
        options_.mount(std::move(volume), OptionsOf(record, mountpoint.string(), source));
  } catch (...) {
    rmdir(mountpoint.c_str());
    throw;
  }
  mounted.result.mountpoint = mountpoint.string();
  if (std::optional<MountEntry> entry = FindMountAt(mountpoint)) {
    mounted.result.device = entry->device;
  }
  KeptMount& kept = mounted.kept;
  kept.volume = record.id;
  kept.name = record.name;
  kept.at = at;
  kept.mountpoint = mounted.result.mountpoint;
  kept.source = source;
  kept.device = mounted.result.device;
  return mounted;
}

SessionOptions Volumes::OptionsOf(const VolumeRecord& record, const std::string& mountpoint,
                                  const std::string& source) {
  SessionOptions session;
  session.mountpoint = mountpoint;
  session.source = source;
  session.open_at = [store = &store_, name = record.name](std::string_view time) {
    return store->OpenAt(name, store->InstantOf(name, time));
  };
  session.make_room = [store = &store_] { return store->MakeRoom(); };
  session.flags = MountFlagsOf(record);
  session.figures = FiguresOf(record.name);
  if (MountKeeper* keeper = options_.keeper) {
    session.on_view = [keeper, mountpoint](uint64_t slot, std::optional<Instant> at) {
      keeper->PutView(mountpoint, slot, at);
    };
  }
  return session;
}

KeptMount Volumes::KeptOf(const Mounted& mounted) {
  KeptMount kept = mounted.kept;
  kept.counts = mounted.counts;
  kept.unanswered = mounted.unanswered;
  for (const auto& [id, change] : mounted.doubtful) {
    int& sum = kept.unanswered[id];
    sum = sum * change >= 0 ? sum + change : sum;
  }
  kept.remains = mounted.session->remains().value_or(SessionRemains{});
  return kept;
}

void Volumes::Count(Mounted* mounted, const std::string& id, int change) {
  const auto doubtful = mounted->doubtful.find(id);
  bool repeated = false;
  if (doubtful != mounted->doubtful.end()) {
    repeated = Clock::now() < mounted->doubted_until && doubtful->second * change > 0;
    doubtful->second -= change;
    if (!repeated || doubtful->second == 0) mounted->doubtful.erase(doubtful);
  }
  int& unanswered = mounted->unanswered[id];
  unanswered = unanswered * change > 0 ? unanswered + change : change;
  unanswered_here = {mounted->kept.name, mounted->kept.at.value_or(kInstantMax), id, change};
  if (repeated) return;
  int& count = mounted->counts[id];
  count += change;
  if (count <= 0) mounted->counts.erase(id);
}

void Volumes::Keep(const KeptMount& kept, bool with_descriptors) {
  if (options_.keeper == nullptr || kept.remains.device < 0) return;
  options_.keeper->Put(kept, with_descriptors);
}

void Volumes::Answered() {
  if (!unanswered_here) return;
  const Counted counted = *std::exchange(unanswered_here, std::nullopt);
  Work work(*this, counted.volume);
  std::unique_lock lock(mutex_);
  const auto found = work.entry().mounted.find(counted.shown);
  if (found == work.entry().mounted.end()) return;
  // Only its own: others of the same ID may be under way.
  std::map<std::string, int>& unanswered = found->second.unanswered;
  const auto own = unanswered.find(counted.id);
  if (own == unanswered.end() || own->second * counted.change < 0) return;
  own->second -= counted.change;
  if (own->second == 0) unanswered.erase(own);
  const KeptMount kept = KeptOf(found->second);
  lock.unlock();
  Keep(kept);
}

void Volumes::ForgetDoubts(const Work& work) {
  for (auto& [at, mounted] : work.entry().mounted) {
    std::unique_lock lock(mutex_);
    if (mounted.doubtful.empty() || Clock::now() < mounted.doubted_until) continue;
    mounted.doubtful.clear();
    const KeptMount kept = KeptOf(mounted);
    lock.unlock();
    Keep(kept);
  }
}

void Volumes::Unmount(Mounted mounted) {
  mounted.session.reset();
  if (options_.keeper != nullptr) options_.keeper->Drop(mounted.result.mountpoint);
  // A directory without a mount on it would take what somebody writes there by mistake.
  rmdir(mounted.result.mountpoint.c_str());
}

void Volumes::Unmount(const std::string& name, const std::string& id) {
  Work work(*this, name);
  std::map<Instant, Mounted>& mounted = work.entry().mounted;
  Mounted released;
  std::optional<KeptMount> kept;
  bool of_head = false;
  {
    std::lock_guard lock(mutex_);
    for (auto entry = mounted.begin(); entry != mounted.end(); ++entry) {
      std::map<std::string, int>& counts = entry->second.counts;
      if (!counts.contains(id)) continue;
      of_head = entry->first == kInstantMax;
      Count(&entry->second, id, -1);
      kept = KeptOf(entry->second);
      if (counts.empty()) {
        kept.reset();
        released = std::move(entry->second);
        mounted.erase(entry);
      }
      break;
    }
  }
  if (kept) Keep(*kept);
  // After the last write, but while the head is open.
  std::shared_ptr<Volume> head;
  if (of_head) head = OpenToNote(name);
  if (released.session != nullptr) Unmount(std::move(released));
  if (head != nullptr) NoteHolder(*head, name, id, false);
}

void Volumes::NoteMount(const std::string& name, const std::string& id) {
  if (const auto head = OpenToNote(name)) NoteHolder(*head, name, id, true);
}

std::shared_ptr<Volume> Volumes::OpenToNote(const std::string& name) {
  try {
    return store_.OpenVolume(name);
  } catch (const std::exception& error) {
    spdlog::warn("{}: a mount is not noted: {}", name, error.what());
    return nullptr;
  }
}

void Volumes::NoteHolder(Volume& head, const std::string& name, const std::string& id,
                         bool mounted) {
  try {
    head.NoteHolder(id, mounted);
  } catch (const std::exception& error) {
    spdlog::warn("{}: a mount is not noted: {}", name, error.what());
  }
}

std::optional<std::string> Volumes::FindHeldBy(const std::string& id) {
  std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    for (const auto& [at, mounted] : entry->mounted) {
      if (mounted.counts.contains(id)) return name;
    }
  }
  return std::nullopt;
}

std::vector<MountHolder> Volumes::HoldersOf(const Entry& entry) const {
  std::vector<MountHolder> holders;
  for (const auto& [at, mounted] : entry.mounted) {
    for (const auto& [id, count] : mounted.counts) {
      holders.push_back({id, at == kInstantMax ? std::nullopt : std::optional(at)});
    }
  }
  return holders;
}

std::optional<VolumeFacts> Volumes::Find(const std::string& name) {
  std::optional<VolumeRecord> record = store_.Find(name);
  if (!record) return std::nullopt;
  VolumeFacts facts{std::move(*record), "", {}};
  std::lock_guard lock(mutex_);
  if (auto found = entries_.find(name); found != entries_.end()) {
    const std::map<Instant, Mounted>& mounted = found->second->mounted;
    if (auto head = mounted.find(kInstantMax); head != mounted.end()) {
      facts.mountpoint = head->second.result.mountpoint;
    }
    facts.holders = HoldersOf(*found->second);
  }
  return facts;
}

std::vector<VolumeFacts> Volumes::List() {
  std::vector<VolumeFacts> list;
  for (const VolumeRecord& record : store_.List()) {
    if (std::optional<VolumeFacts> facts = Find(record.name)) list.push_back(std::move(*facts));
  }
  return list;
}

Instant Volumes::SetMark(const std::vector<std::string>& names, const std::string& label,
                         const std::string& note, const std::optional<std::string>& at) {
  std::optional<Instant> instant;
  CheckNote(note);
  if (at && !names.empty()) instant = InstantOf(names.front(), *at);
  return store_.SetMark(names, label, note, instant);
}

void Volumes::SetConsistentMark(const std::map<std::string, std::string>& volumes,
                                const std::string& label, const std::string& note, Instant at) {
  CheckNote(note);
  for (const auto& [name, how] : volumes) CheckNote(how);
  store_.SetConsistentMark(volumes, label, note, at);
}

void Volumes::CheckMark(const std::vector<std::string>& names, const std::string& label,
                        const std::string& note) {
  CheckLabel(label);
  CheckNote(note);
  for (const std::string& name : names) {
    const std::optional<VolumeRecord> record = store_.Find(name);
    if (!record) RefuseUnknown(name);
    if (!record->writable())
      throw Refused(EROFS, "cannot mark " + name + ": it is a snapshot volume");
    for (const Mark& mark : store_.Marks(name)) {
      if (mark.label != label) continue;
      throw Refused(EEXIST, "volume " + name + " has a mark " + Quoted(label) + " at " +
                                FormatInstant(mark.at) + "; remove it first");
    }
  }
}

std::map<std::string, int> Volumes::HeadHoldersOf(const Entry& entry) {
  const auto head = entry.mounted.find(kInstantMax);
  if (head == entry.mounted.end()) return {};
  return head->second.counts;
}

std::map<std::string, int> Volumes::HeadHolders(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return {};
  return HeadHoldersOf(*found->second);
}

Instant Volumes::RollBackAll(const std::vector<std::string>& names, Instant at,
                             const std::string& label, const std::string& note) {
  CheckNote(note);
  // In the order of their names: nobody waits for one whose holder waits for another.
  std::map<std::string, std::unique_ptr<Work>> works;
  for (const std::string& name : std::set<std::string>(names.begin(), names.end()))
    works[name] = std::make_unique<Work>(*this, name);
  for (const auto& [name, work] : works) RefuseHeld(*work, "cannot roll back " + name, name);
  return store_.RollBackAll(names, at, label, note);
}

Instant Volumes::InstantOfAll(const std::vector<std::string>& names, const std::string& time) {
  std::string first;
  std::optional<Instant> marked;
  for (const std::string& name : names) {
    if (!store_.Find(name)) RefuseUnknown(name);
    for (const Mark& mark : store_.Marks(name)) {
      if (mark.label != time) continue;
      if (marked && *marked != mark.at) RefuseAmbiguous(time, first, *marked, name, mark.at);
      if (!marked) first = name;
      marked = mark.at;
    }
  }
  if (marked) return *marked;
  if (names.empty()) throw Refused(EINVAL, "a volume is needed");
  return InstantOf(names.front(), time);
}

Instant Volumes::InstantHeldAtMost(const std::map<std::string, int>& volumes) {
  std::vector<std::unique_ptr<Work>> works;  // nobody can mount meanwhile
  for (const auto& [name, most] : volumes) {
    if (!store_.Find(name)) RefuseUnknown(name);
    works.push_back(std::make_unique<Work>(*this, name));
    int held = 0;
    for (const auto& [id, count] : HeadHoldersOf(works.back()->entry())) held += count;
    if (held <= most) continue;
    throw Refused(EBUSY, name + " is mounted " + std::to_string(held) + " times, not " +
                             std::to_string(most) + ": somebody has just begun to use it");
  }
  return store_.Now();
}

std::string Volumes::SimilarMarks(const std::string& volume, std::string_view label) {
  if (!store_.Find(volume)) return "";
  std::vector<std::string> labels;
  for (const Mark& mark : store_.Marks(volume)) labels.push_back(mark.label);
  std::string list;
  for (const std::string& similar : MostSimilar(label, labels)) {
    list += (list.empty() ? "" : ", ") + Quoted(similar);
  }
  return list.empty() ? "" : "; similar marks are: " + list;
}

void Volumes::RemoveMark(const std::string& name, const std::string& label) {
  try {
    store_.RemoveMark(name, label);
  } catch (const Refused& refused) {
    if (refused.error() != ENOENT) throw;
    throw Refused(ENOENT, refused.what() + SimilarMarks(name, label));
  }
}

Instant Volumes::InstantOf(const std::string& volume, std::string_view time) {
  try {
    return store_.InstantOf(volume, time);
  } catch (const Refused& refused) {
    if (refused.error() != EINVAL) throw;
    throw Refused(EINVAL, refused.what() + SimilarMarks(volume, time));
  }
}

std::vector<std::string> Volumes::WritableNames() {
  std::vector<std::string> names;
  for (const VolumeRecord& record : store_.List()) {
    if (record.writable()) names.push_back(record.name);
  }
  return names;
}

Instant Volumes::Now(const std::string& name) {
  if (!store_.Find(name)) RefuseUnknown(name);
  return store_.Now();
}

std::shared_ptr<Volume> Volumes::View(const std::string& name,
                                      const std::optional<std::string>& at) {
  const std::optional<VolumeRecord> record = store_.Find(name);
  if (!record) RefuseUnknown(name);
  if (!at && record->fixed_at) return store_.OpenVolume(name);
  return store_.OpenAt(name, at ? InstantOf(name, *at) : store_.Now());
}

void Volumes::MakeFilled(const std::string& name, const std::map<std::string, std::string>& options,
                         const std::function<void(Volume&)>& fill) {
  const CreateRequest request =
      ParseVolumeOptions(name, options, [](const std::string&, std::string_view) -> Instant {
        throw Refused(EINVAL, "a time means nothing for a volume that starts empty");
      });
  const std::string unfinished = store_.Begin(request);
  try {
    fill(*store_.OpenVolume(unfinished));
    store_.Finish(unfinished, name);
  } catch (...) {
    try {
      store_.Discard(unfinished);
    } catch (const std::exception& error) {
      spdlog::warn("what {} was to become stays until the next start: {}", name, error.what());
    }
    throw;
  }
}

void Volumes::Probe() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) names.push_back(name);
  }
  for (const std::string& name : names) {
    const Work work(*this, name, std::try_to_lock);
    if (!work.ours()) continue;  // its mounts are being changed
    for (const auto& [at, mounted] : work.entry().mounted) mounted.session->Probe();
    ForgetDoubts(work);
  }
  ForgetRemovals();
}

ForgetReport Volumes::Forget(const std::string& name, const std::string& path, bool copies) {
  if (!store_.Find(name)) RefuseUnknown(name);
  ForgetReport report = store_.ForgetPath(name, path, copies, *NoteProgress(name));
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [entry_name, entry] : entries_) names.push_back(entry_name);
  }
  for (const std::string& entry_name : names) {
    const Work work(*this, entry_name);
    for (const auto& [at, mounted] : work.entry().mounted) {
      for (const uint64_t ino : report.inodes) mounted.session->DropPastPages(ino);
    }
  }
  return report;
}

void Volumes::Upgrade() {
  if (options_.keeper == nullptr) throw Refused(ENOTSUP, "there is no supervisor");
  options_.keeper->Upgrade();
}

void Volumes::UnmountAll() {
  std::vector<std::string> names;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [name, entry] : entries_) names.push_back(name);
  }
  std::vector<Mounted> ending;
  for (const std::string& name : names) {
    Work work(*this, name);
    std::map<Instant, Mounted> released;
    {
      std::lock_guard lock(mutex_);
      released.swap(work.entry().mounted);
    }
    for (auto& [at, mounted] : released) {
      mounted.session->BeginEnd();
      ending.push_back(std::move(mounted));
    }
  }
  for (Mounted& mounted : ending) {
    const std::string name = mounted.kept.name;
    const std::map<std::string, int> holders = mounted.counts;
    const auto head = mounted.kept.at ? nullptr : OpenToNote(name);
    Unmount(std::move(mounted));
    if (head == nullptr) continue;
    for (const auto& [id, count] : holders) NoteHolder(*head, name, id, false);
  }
}

CheckReport Volumes::Check(CheckOptions options, const std::optional<std::string>& at) {
  const std::unique_lock checking(checking_, std::try_to_lock);
  if (!checking) throw Refused(EBUSY, "a check is under way; wait until it is done");
  if (at && options.volume.empty())
    throw Refused(EINVAL, "a time is one of a volume: name the volume");
  if (at) options.at = InstantOf(options.volume, *at);
  check_given_up_ = false;
  options.go_on = [this] { return !ending_ && !check_given_up_; };
  options.progress = [this](const CheckProgress& progress) {
    const std::lock_guard lock(progress_mutex_);
    progress_ = progress;
  };
  return store_.Check(options);
}

CheckProgress Volumes::Progress() {
  const std::lock_guard lock(progress_mutex_);
  return progress_;
}

CheckProgress Volumes::ProgressOf(const std::string& name) {
  const std::lock_guard lock(progress_mutex_);
  const auto found = progresses_.find(name);
  return found == progresses_.end() ? CheckProgress() : found->second;
}

std::shared_ptr<const ProgressSink> Volumes::NoteProgress(const std::string& name) {
  const auto note = [this, name](const char* step, uint64_t done, uint64_t total) {
    const std::lock_guard lock(progress_mutex_);
    progresses_[name] = {step, done, total};
    if (given_up_.erase(name) != 0)
      throw Refused(ECANCELED, "interrupted while " + std::string(step));
  };
  return {new ProgressSink(note), [this, name](const ProgressSink* sink) {
            delete sink;
            const std::lock_guard lock(progress_mutex_);
            progresses_.erase(name);
            given_up_.erase(name);
          }};
}

void Volumes::GiveUp(const std::string& name) {
  if (name.empty()) {
    check_given_up_ = true;
    return;
  }
  const std::lock_guard lock(progress_mutex_);
  if (progresses_.contains(name)) given_up_.insert(name);
}

}  // namespace rw
