#include "plugin/volume_users.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/container_order.h"
#include "plugin/interruption.h"

namespace rw {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

constexpr char kCommandLinePrefix[] = "cli:";
constexpr milliseconds kChangePatience{5000};  // for a container that is just starting or ending
constexpr milliseconds kLook{100};

// All containers of the projects that these belong to.
std::vector<Container> ProjectsOf(const EngineApi& engine,
                                  const std::vector<Container>& containers) {
  std::set<std::string> projects;
  for (const Container& container : containers) projects.insert(ProjectOf(container));
  projects.erase("");
  std::vector<Container> all;
  for (const std::string& project : projects) {
    for (const std::string& id : engine.ContainersOfProject(project)) {
      if (auto container = engine.Inspect(id)) all.push_back(std::move(*container));
    }
  }
  return all;
}

void NeedSameVolume(const EngineApi& engine, const VolumeUse& use) {
  const std::optional<EngineVolume> volume = engine.FindVolume(use.name);
  if (!volume || volume->created == use.created) return;
  throw Refused(EINVAL, "the Docker engine has another volume " + use.name + ", of driver " +
                            volume->driver +
                            ", not this daemon's; name the engine that uses this daemon with "
                            "--docker-socket");
}

// The first volume that is mounted more often than the containers explain; null if there is none.
const VolumeUse* FindUnexplained(const std::vector<VolumeUse>& uses,
                                 const std::map<std::string, int>& mounts) {
  for (const VolumeUse& use : uses) {
    if (use.held() > mounts.at(use.name)) return &use;
  }
  return nullptr;
}

}  // namespace

int VolumeUse::held() const {
  int sum = 0;
  for (const auto& [id, count] : holders) sum += count;
  return sum;
}

std::vector<VolumeUse> UsesOf(const Json& answer) {
  std::vector<VolumeUse> uses;
  for (const Json& item : answer.at("Volumes")) {
    VolumeUse use;
    use.name = item.at("Name");
    use.created = item.at("Created");
    use.writable = item.at("Writable");
    use.holders = item.at("Holders").get<std::map<std::string, int>>();
    use.mounts = item.at("Mounts").get<std::set<std::string>>();
    uses.push_back(std::move(use));
  }
  return uses;
}

bool IsCommandLineMount(const std::string& holder) {
  return holder.starts_with(kCommandLinePrefix);
}

bool AnyHeld(const std::vector<VolumeUse>& uses) {
  return std::any_of(uses.begin(), uses.end(), [](const auto& use) { return use.held() > 0; });
}

void RefuseCommandLineMounts(const std::vector<VolumeUse>& uses, const std::string& what) {
  for (const VolumeUse& use : uses) {
    for (const auto& [id, count] : use.holders) {
      if (!IsCommandLineMount(id)) continue;
      throw Refused(EBUSY, "cannot " + what + " " + use.name + ": mounted by rewind mount on " +
                               id.substr(sizeof kCommandLinePrefix - 1) +
                               "; rewind umount the directory first");
    }
  }
}

std::vector<Container> ListUsers(const EngineApi& engine, const std::vector<std::string>& names) {
  std::vector<Container> users;
  for (const std::string& id : engine.UsersOf(names)) {
    std::optional<Container> container = engine.Inspect(id);
    if (!container || (!container->running && !container->restarting)) continue;
    const bool uses = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return std::find(container->volumes.begin(), container->volumes.end(), name) !=
             container->volumes.end();
    });
    if (uses) users.push_back(std::move(*container));
  }
  return users;
}

std::map<std::string, int> MountsOf(const std::vector<Container>& containers,
                                    const std::vector<std::string>& names) {
  std::map<std::string, int> mounts;
  for (const std::string& name : names) {
    int& count = mounts[name];
    for (const Container& container : containers)
      count +=
          static_cast<int>(std::count(container.volumes.begin(), container.volumes.end(), name));
  }
  return mounts;
}

std::vector<Container> FindUsers(const EngineApi& engine, const std::filesystem::path& socket,
                                 const std::vector<std::string>& names) {
  const Deadline deadline = After(kChangePatience);
  for (bool first = true;; first = false) {
    std::vector<Container> users = ListUsers(engine, names);
    const std::vector<VolumeUse> uses = UsesOf(Ask(socket, "Rewind.Uses", {{"Names", names}}));
    if (first) {
      for (const VolumeUse& use : uses) NeedSameVolume(engine, use);
    }
    const VolumeUse* const unexplained = FindUnexplained(uses, MountsOf(users, names));
    if (unexplained == nullptr) return InStopOrder(users, ProjectsOf(engine, users));
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Refused(EBUSY, unexplained->name +
                               " is mounted by somebody who is no running container "
                               "of this Docker engine (rewind inspect " +
                               unexplained->name + " lists who); end that first");
    }
    Interruption::Check();
    std::this_thread::sleep_for(kLook);
  }
}

std::vector<std::string> VolumesOfProject(const EngineApi& engine,
                                          const std::filesystem::path& socket,
                                          const std::string& project) {
  std::map<std::string, bool> ours;  // and whether it can be written
  std::map<std::string, std::string> created;
  const Json listed = Ask(socket, "Rewind.List", Json::object());
  for (const Json& volume : listed.at("Volumes")) {
    ours[volume.at("name")] = volume.at("writable");
    created[volume.at("name")] = volume.at("created_at");
  }
  std::vector<std::string> names;
  for (const std::string& name : engine.VolumesOfProject(project)) {
    const auto found = ours.find(name);
    if (found == ours.end() || !found->second) continue;
    const std::optional<EngineVolume> volume = engine.FindVolume(name);
    if (volume && volume->created == created[name]) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  if (!names.empty()) return names;
  throw Refused(ENOENT,
                "the Docker engine knows no volume of rewind that belongs to the Compose "
                "project " +
                    project +
                    " (docker volume ls --filter "
                    "label=com.docker.compose.project=" +
                    project + ")");
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : ", ") + text;
  return joined;
}

std::string NamesOf(const std::vector<Container>& containers) {
  std::vector<std::string> names;
  names.reserve(containers.size());
  for (const Container& container : containers) names.push_back(container.name);
  return Joined(names);
}

}  // namespace rw
