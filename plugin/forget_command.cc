#include "plugin/forget_command.h"

#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/quantity.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"
#include "plugin/waiting.h"

namespace rw {

using Json = nlohmann::json;

void ForgetCommand(const std::filesystem::path& socket, const ForgetRequest& request, bool json) {
  const std::string path = TextOfArgument(request.path);
  Json question{{"Name", request.name}, {"Path", path}};
  if (request.copies) question["Copies"] = "yes";
  const Json answer = AskPatiently(socket, "Rewind.Forget", question, request.name,
                                   "forgetting in " + request.name);
  if (json) {
    PrintJson({{"inodes", answer.at("Inodes")},
               {"bytes", answer.at("Bytes")},
               {"segments", answer.at("Segments")},
               {"damaged_places", answer.at("DamagedPlaces")}});
  } else {
    std::cout << "forgot \"" << Shown(path) << "\" of " << request.name << ": "
              << answer.at("Inodes").size() << " files, "
              << FormatByteCount(answer.at("Bytes").get<uint64_t>()) << " in "
              << answer.at("Segments").get<uint64_t>() << " segments\n";
  }
  if (answer.at("DamagedPlaces").get<uint64_t>() > 0) {
    throw Refused(EIO, "there is damage in segments that may hide some of it; see rewind check");
  }
}

}  // namespace rw
