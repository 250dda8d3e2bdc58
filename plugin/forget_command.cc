#include "plugin/forget_command.h"

#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/printing.h"

namespace rw {

using Json = nlohmann::json;

namespace {

constexpr int kForgetTimeoutSeconds = 86400;

}  // namespace

void ForgetCommand(const std::filesystem::path& socket, const ForgetRequest& request, bool json) {
  Json question{{"Name", request.name}, {"Path", request.path}};
  if (request.copies) question["Copies"] = "yes";
  const Json answer = Ask(socket, "Rewind.Forget", question, kForgetTimeoutSeconds);
  if (json) {
    PrintJson({{"inodes", answer.at("Inodes")},
               {"bytes", answer.at("Bytes")},
               {"segments", answer.at("Segments")},
               {"damaged_places", answer.at("DamagedPlaces")}});
  } else {
    std::cout << "forgot " << Quoted(request.path) << " of " << request.name << ": "
              << answer.at("Inodes").size() << " files, "
              << FormatByteCount(answer.at("Bytes").get<uint64_t>()) << " in "
              << answer.at("Segments").get<uint64_t>() << " segments\n";
  }
  if (answer.at("DamagedPlaces").get<uint64_t>() > 0) {
    throw Refused(EIO, "there is damage in segments that may hide some of it; see rewind check");
  }
}

}  // namespace rw
