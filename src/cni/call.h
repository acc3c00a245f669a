// What a container runtime wants of the plugin: a command, from its environment and standard input.
//
// The plugin reads it, and passes it on to the agent, which reads it again: it trusts no text.
//
//   source   containernetworking/cni, SPEC.md 1.1.0, sections 2 and 4; CONVENTIONS.md (CNI_ARGS)
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "cni/failure.h"
#include "cni/version.h"

namespace ocicat::cni {

enum class Command : std::uint8_t { kAdd, kDel, kCheck, kStatus, kGc, kVersion };
std::string_view to_string(Command command);  // "ADD"

// What the plugin was started as: its own name says so.
enum class Role : std::uint8_t {
  kNetwork,    // ocicat-cni: wires containers
  kAddresses,  // ocicat-ipam: gives addresses to containers that another plugin wires
};
inline constexpr std::string_view kAddressesPlugin = "ocicat-ipam";

// CNI_COMMAND and so on, as they are; empty where they are not set.
struct Environment {
  Role role = Role::kNetwork;
  std::string command;
  std::string container_id;
  std::string netns;
  std::string ifname;
  std::string args;
  std::string path;  // of other plugins; the agent is not told
};

struct Call {
  Role role = Role::kNetwork;
  Command command{};
  Version version{};
  std::string container_id;  // these three where the command needs them
  std::string netns;         // DEL: may be empty
  std::string ifname;
  std::map<std::string, std::string, std::less<>> args;  // CNI_ARGS; of DEL what can be read of them
  std::string network;                                   // `name` of the configuration; VERSION has none
  boost::json::object config;
  // Of ADD where another plugin gives the addresses (delegation.h): whether who calls can run it, and what it gave, a
  // result of an address management plugin.
  bool delegates = false;
  std::optional<boost::json::object> given;

  // The same call for DEL or CHECK is about the same attachment.
  std::string attachment() const { return container_id + "@" + ifname; }
  // False: DEL of names that no ADD takes, so that there is nothing to take back, and that are good for nothing.
  bool may_have_been_added() const;
};

// The largest configuration that is read.
inline constexpr std::size_t kMostConfig = std::size_t{1} << 20;

// Checks what is common to all commands. Codes: 1, 4, 6, 7.
Outcome<Call> read_call(const Environment& environment, std::string_view config);

// As read_call() reads it once more from an object {"environment":…,"config":…}, which to_json() makes.
// `namespace_path` is where the agent finds the container's network namespace, whatever it sees of the
// runtime's files; empty where there is none.
//
// ADD without addresses, of a network that another plugin gives them in, is answered either with a result, or with
// {"delegate":CONFIGURATION,"again":BOOL}: what that plugin is to be told for ADD, and whether an earlier one's
// addresses are to go first.
inline constexpr std::string_view kDelegateKey = "delegate";
inline constexpr std::string_view kAgainKey = "again";
struct Message {
  Environment environment;
  boost::json::object config;
  std::string namespace_path;
  bool delegates = false;  // these as in Call
  std::optional<boost::json::object> given;
};
// Of a call for which a command needs a container: what was read, without what could not be.
Environment environment_of(const Call& call);
std::string to_json(const Message& message);
Outcome<Message> read_message(std::string_view text);
Outcome<Call> call_of(const Message& message);

// What names a container, a network or an interface in file names and documents.
bool is_cni_name(std::string_view text);
bool is_interface_name(std::string_view text);  // a "%d" the kernel would fill in

}  // namespace ocicat::cni
