#include "tests/support/protocol_driver.h"

#include "metadata/refused.h"
#include "plugin/client.h"

namespace rw::testing {

using Kind = ProtocolCall::Kind;
using Json = nlohmann::json;

std::string EndpointOf(const ProtocolCall& call) {
  static constexpr const char* kNames[] = {"Create", "Remove", "Mount", "Unmount", "Get", "Path"};
  return std::string("VolumeDriver.") + kNames[static_cast<int>(call.kind)];
}

Json BodyOf(const std::string& volume, const ProtocolCall& call) {
  Json body = {{"Name", volume}};
  if (call.kind == Kind::kMount || call.kind == Kind::kUnmount) body["ID"] = call.id;
  if (call.kind == Kind::kCreate) body["Opts"] = Json::parse(call.options);
  return body;
}

ProtocolAnswer Call(const DaemonProcess& daemon, const std::string& volume,
                    const ProtocolCall& call) {
  ProtocolAnswer answer;
  Json json;
  try {
    json = Ask(daemon.socket(), EndpointOf(call), BodyOf(volume, call));
  } catch (const Refused& refused) {
    if (refused.error() != EREMOTEIO) throw;  // that was no answer
    return answer;
  }
  answer.done = true;
  const Json& about = call.kind == Kind::kGet ? json.at("Volume") : json;
  if (about.contains("Mountpoint"))
    answer.mounted = !about.at("Mountpoint").get<std::string>().empty();
  if (call.kind == Kind::kGet)
    answer.holders = about.at("Status").at("mounted_by").get<std::set<std::string>>();
  return answer;
}

}  // namespace rw::testing
