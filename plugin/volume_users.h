// Which containers use volumes: the daemon knows how often each is mounted, the engine by whom.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "plugin/engine_api.h"

namespace rw {

// What the daemon knows of a volume.
struct VolumeUse {
  std::string name;
  std::string created;
  bool writable = false;
  std::map<std::string, int> holders;  // by their ids; only of the volume as it is now
  std::set<std::string> mounts;        // ids of all holders, also of a snapshot volume's

  int held() const;
};

// As the daemon answers: "Volumes" of Rewind.Uses and of those that prepare something.
std::vector<VolumeUse> UsesOf(const nlohmann::json& answer);

// Whether a holder is `rewind mount`, not a container's mount.
bool IsCommandLineMount(const std::string& holder);
bool AnyHeld(const std::vector<VolumeUse>& uses);
// Throws Refused(EBUSY) for a volume that `rewind mount` has mounted: `what` cannot be done then,
// whatever becomes of containers.
void RefuseCommandLineMounts(const std::vector<VolumeUse>& uses, const std::string& what);

// The containers that run, are paused or are being restarted, and use one of the volumes.
std::vector<Container> ListUsers(const EngineApi& engine, const std::vector<std::string>& names);

// The containers that run, or are paused, and use one of the volumes, in the order to stop them.
// Each use that the daemon knows of is one of theirs: if it is not so, waits a moment for what is
// just ending or beginning, then throws Refused(EBUSY). Also throws if the engine has another
// volume of that name. `socket` is the daemon's.
std::vector<Container> FindUsers(const EngineApi& engine, const std::filesystem::path& socket,
                                 const std::vector<std::string>& names);

// How often these containers have each volume mounted.
std::map<std::string, int> MountsOf(const std::vector<Container>& containers,
                                    const std::vector<std::string>& names);

// Volumes that belong to a Compose project and to this daemon, and can be written. Throws
// Refused(ENOENT) if there is none.
std::vector<std::string> VolumesOfProject(const EngineApi& engine,
                                          const std::filesystem::path& socket,
                                          const std::string& project);

// "db, web"
std::string NamesOf(const std::vector<Container>& containers);
std::string Joined(const std::vector<std::string>& texts);

}  // namespace rw
