#include "plugin/release_command.h"

#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/engine_api.h"
#include "plugin/interruption.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"
#include "plugin/volume_users.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// A container has its volumes mounted for a moment before it runs, and after.
constexpr std::chrono::milliseconds kWatched{5000};
constexpr std::chrono::milliseconds kLook{200};

void RefuseIfUsed(const EngineApi& engine, const std::string& name) {
  const std::vector<Container> users = ListUsers(engine, {name});
  if (users.empty()) return;
  throw Refused(EBUSY, "cannot release " + Quoted(name) + ": used by " + NamesOf(users) +
                           "; stop what uses it, which releases it as well");
}

VolumeUse UseOf(const std::filesystem::path& socket, const std::string& name) {
  return UsesOf(Ask(socket, "Rewind.Uses", {{"Names", {name}}})).front();
}

// The engine's mounts of it, by its numbers of them.
std::set<std::string> MountsOf(const VolumeUse& use) {
  std::set<std::string> mounts = use.mounts;
  std::erase_if(mounts, IsCommandLineMount);
  return mounts;
}

// Another engine would say of containers that it does not know that there are none.
void NeedItsEngine(const EngineApi& engine, const VolumeUse& use) {
  const std::optional<EngineVolume> volume = engine.FindVolume(use.name);
  if (volume && volume->created == use.created) return;
  throw Refused(EINVAL, "cannot release " + Quoted(use.name) +
                            ": this Docker engine does not know it; name the one that uses this "
                            "daemon with --docker-socket");
}

}  // namespace

void ReleaseCommand(const std::filesystem::path& socket, const ReleaseRequest& request) {
  const EngineApi engine(FindEngineSocket(request.engine_socket));
  const VolumeUse use = UseOf(socket, request.name);
  NeedItsEngine(engine, use);
  const std::set<std::string> mounts = MountsOf(use);
  for (const Deadline deadline = After(kWatched); !mounts.empty();) {
    RefuseIfUsed(engine, request.name);
    if (MountsOf(UseOf(socket, request.name)) != mounts) {
      throw Refused(EBUSY, "cannot release " + Quoted(request.name) +
                               ": it was mounted or unmounted just now; try again");
    }
    if (std::chrono::steady_clock::now() >= deadline) break;
    Interruption::Check();
    std::this_thread::sleep_for(kLook);
  }
  for (const std::string& id : mounts) {
    do {
      Ask(socket, "VolumeDriver.Unmount", {{"Name", request.name}, {"ID", id}});
    } while (MountsOf(UseOf(socket, request.name)).contains(id));
  }
  if (request.json) {
    PrintJson({{"released", mounts}});
    return;
  }
  for (const std::string& id : mounts) std::cout << Shown(id) << '\n';
  if (mounts.empty()) std::cerr << "rewind: no container has it mounted" << std::endl;
}

}  // namespace rw
