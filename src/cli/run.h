// How commands begin and end.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <type_traits>

#include "api/client/client.h"
#include "base/result.h"
#include "base/say.h"
#include "base/time_text.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ocicat::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// Ends a command: an error is printed as "error: …"; anything but kDone leaves through CLI11 with that code.
void finish(const Result<int>& outcome);

// A word of the command line, understood; one that cannot be is wrong usage: it is printed as "error: …", and
// the command leaves with kUsage.
[[noreturn]] void wrong_usage(const Error& error);
template <class T>
T typed(Result<T> word) {
  if (!word) wrong_usage(word.error());
  if constexpr (!std::is_void_v<T>) return *std::move(word);
}

// Whether everything said so far has reached stdout. run() of cli/cli.h asks in the end, says so where it has
// not, and turns kDone into kFailed; a command whose kFailed means something else has to ask as well.
bool all_is_written();

// "error: …" and "warning: …" on stderr, each message on one line.
void print_error(const Error& error);
void print_warning(std::string_view message);

// What the clock says, for ages and for what is written with a time.
TimePoint now();

// --server, for every command that asks one.
CLI::Option* add_server_option(CLI::App& command, std::string& server);

// A client of a server that answers. An empty address stands for $OCICAT_SERVER, else the standard socket;
// the error says what to do.
Result<api::Client> connect(const std::string& server);
// Wrong usage where it is no address.
api::Address address_of(const std::string& server);

}  // namespace ocicat::cli
