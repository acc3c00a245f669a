#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/snapshot.h"
#include "views/explain_ports.h"

namespace ocicat::cli {
namespace {

struct ExplainOptions {
  std::string from;
  std::string to;
  std::string traffic;
  std::string family;
  std::string source_address;
  std::uint16_t source_port = views::kAnySourcePort;
  FileOptions files;
  std::string server;
  std::string output;
};

// -f takes all words up to the next option, those behind the files included: `-f a.yaml FROM TO PROTO/PORT -o
// json`. What is missing of the three is therefore at the end of the files.
void take_back_words(ExplainOptions& options) {
  const std::array<std::pair<const char*, std::string*>, 3> words{std::pair{"FROM", &options.from},
                                                                  std::pair{"TO", &options.to},
                                                                  std::pair{"PROTO/PORT", &options.traffic}};
  const auto* missing = std::ranges::find_if(words, [](const auto& word) { return word.second->empty(); });
  const auto count = std::distance(missing, words.end());
  auto& paths = options.files.paths;
  if (count == 0) return;
  if (std::ssize(paths) <= count) throw CLI::RequiredError(missing->first);
  auto path = paths.end() - count;
  for (; missing != words.end(); ++missing, ++path) *missing->second = std::move(*path);
  paths.resize(paths.size() - static_cast<std::size_t>(count));
}

// The family that is asked about; none: whichever both have.
std::optional<Family> family_of(const ExplainOptions& options, const views::Traffic& traffic) {
  if (options.family.empty()) return traffic.family;
  const Family family = typed(views::parse_family(options.family));
  if (traffic.family && *traffic.family != family) {
    const auto* other = family == Family::kIpv6 ? "icmpv6" : "icmp";
    wrong_usage({ErrorCode::kInvalid,
                 fmt::format("{} is of IPv{} only; over IPv{} it is {}", options.traffic,
                             views::number_of(*traffic.family), views::number_of(family), other)});
  }
  return family;
}

// One answer, or one for each group of ports.
template <class Answer>
void print(const Answer& answer, const std::string& output) {
  if (output.empty()) {
    say("{}", views::to_text(answer));
  } else {
    say("{}", document_text(views::to_json(answer), *parse_format(output)));
  }
}

Result<int> run_explain(const ExplainOptions& options) {
  views::Question question;
  question.traffic = typed(views::parse_traffic(options.traffic));
  question.source_port = options.source_port;
  const std::optional<Family> family = family_of(options, question.traffic);
  typed(views::Inventory::check_name(options.from));
  typed(views::Inventory::check_name(options.to));
  const auto source = IpAddress::parse(options.source_address);
  if (!source && !options.source_address.empty()) {
    wrong_usage({ErrorCode::kInvalid,
                 fmt::format("--source-address: {} is not an IP address", options.source_address)});
  }
  if (source && family && source->family() != *family) {
    wrong_usage({ErrorCode::kInvalid, fmt::format("--source-address: {} is not of family {}",
                                                  options.source_address, static_cast<int>(*family))});
  }

  TRY(const policy::Snapshot snapshot, load_snapshot(options.files, options.server));
  const views::Inventory inventory(snapshot);
  TRY(question.from, inventory.find(options.from));
  TRY(question.to, inventory.find(options.to));
  if (source) question.from.addresses = {*source};
  TRY(question.family, views::common_family(question.from, question.to, family));
  const policy::Evaluator evaluator(snapshot);
  if (question.traffic.every_port()) {
    print(views::explain_every_port(evaluator, snapshot, question), options.output);
  } else {
    print(views::explain(evaluator, question), options.output);
  }
  return kDone;
}

constexpr std::string_view kExplainFooter =
    R"(FROM and TO are NAMESPACE/NAME of a workload (or of its endpoint), host:NAME of a node, or an IP address; an
address that a workload has stands for that workload. PROTO/PORT is tcp/80, udp/53, sctp/132, icmp or icmpv6 (an
echo request), icmp/TYPE, icmp/TYPE/CODE, or a protocol number such as 47. A protocol that has ports, without one (tcp,
or 6), asks about every destination port: ports that are decided alike are answered together, and the whole counts as
allowed only where every port is.

The answer is that for the first packet of a connection: at the source (egress) and at the destination (ingress), and
what decided. Rules are numbered from 0, as in field paths: ingress[0] is the first one. Without --family it is IPv4
where both sides have an IPv4 address, else IPv6.

Examples:
  ocicat explain shop/frontend shop/api tcp/8080
  ocicat explain shop/frontend shop/api tcp         # to which ports
  ocicat explain 192.0.2.7 shop/frontend tcp/443 -o json
  ocicat explain shop/gateway shop/api tcp/8080 --source-address 192.0.2.7    # where it may send from there
  ocicat explain shop/api shop/db tcp/5432 -f policies/ -f workloads.yaml     # no server needed)";

// Help in which every positional is required, though the parser does not ask for it (take_back_words).
class AllRequired : public CLI::Formatter {
 public:
  std::string make_option_usage(const CLI::Option* option) const override { return option->get_name(true); }
};

}  // namespace

void add_explain_command(CLI::App& app) {
  auto* command = app.add_subcommand("explain", "Say whether a packet may pass, and what decided");
  auto options = std::make_shared<ExplainOptions>();
  const auto formatter = std::make_shared<AllRequired>();
  formatter->column_width(app.get_formatter()->get_column_width());
  command->formatter(formatter);
  command->add_option("FROM", options->from, "Who sends")->option_text("TEXT REQUIRED");
  command->add_option("TO", options->to, "Who receives")->option_text("TEXT REQUIRED");
  command->add_option("PROTO/PORT", options->traffic, "What is sent")->option_text("TEXT REQUIRED");
  command
      ->add_option("--source-address", options->source_address,
                   "Address that FROM sends from, in place of its own: see allowedSourcePrefixes")
      ->type_name("IP");
  command->add_option("--source-port", options->source_port, "Source port")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535))
      ->type_name("PORT");
  command->add_option("--family", options->family, "IP family: 4 or 6")->check(CLI::IsMember({"4", "6"}));
  add_file_options(*command, options->files, false);
  command->add_option("-o,--output", options->output, "Output: json or yaml")
      ->check(CLI::IsMember({"json", "yaml"}));
  add_server_option(*command, options->server);
  command->footer(std::string(kExplainFooter));
  command->callback([options] {
    take_back_words(*options);
    finish(run_explain(*options));
  });
}

}  // namespace ocicat::cli
