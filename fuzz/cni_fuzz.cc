// What a container runtime gives a plugin, and what the plugin gives the agent: reading it ends with a value
// or with an error that says something; what is understood can be carried out, noted and read again.
#include <boost/json.hpp>

#include <cstdint>
#include <string_view>

#include "cni/attachment.h"
#include "cni/configuration.h"
#include "cni/endpoint.h"
#include "cni/wishes.h"

namespace {

using namespace ocicat::cni;

template <class T>
bool understood(const Outcome<T>& outcome) {
  if (!outcome) CHECK(!outcome.error().message.empty() && !outcome.error().details.empty());
  return outcome.has_value();
}

void carry_out(const Call& call) {
  understood(valid_attachments(call));
  understood(previous_result(call));
  if (!call.may_have_been_added()) return;
  auto attachment = attachment_of(call, "host1");
  CHECK(is_interface_name(attachment.host_interface));
  const auto configuration = read_configuration(call);
  if (!understood(configuration)) return;
  const auto wishes = settle(*configuration, configuration->annotations, {});
  if (!understood(wishes)) return;
  attachment.addresses = wishes->addresses;
  attachment.dns = configuration->dns;
  const auto text = boost::json::serialize(to_json(attachment));
  CHECK(read_attachment(text) == attachment);
  CHECK(container_of(endpoint_document(attachment, "host1", *configuration, *wishes)) ==
        documented_container(call.container_id));
  CHECK(!result_of(attachment, call.version).empty());
}

}  // namespace

// The first line is CNI_ARGS, the second names the command, the rest is the configuration; or all of it is a
// message to the agent, or the note of an attachment.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto message = read_message(text); understood(message)) {
    if (const auto call = call_of(*message); understood(call)) carry_out(*call);
  }
  if (const auto attachment = read_attachment(text)) {
    CHECK(read_attachment(boost::json::serialize(to_json(*attachment))) == attachment);
  }
  const auto first = text.find('\n');
  if (first == std::string_view::npos) return 0;
  const auto second = text.find('\n', first + 1);
  if (second == std::string_view::npos) return 0;
  const auto call = read_call({.command = std::string(text.substr(first + 1, second - first - 1)),
                               .container_id = "c0ffee",
                               .netns = "/run/netns/x",
                               .ifname = "eth0",
                               .args = std::string(text.substr(0, first))},
                              text.substr(second + 1));
  if (understood(call)) carry_out(*call);
  return 0;
}
