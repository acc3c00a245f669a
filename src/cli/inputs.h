// Documents from files: read, checked, and in the order in which they are to be sent.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <vector>

#include "base/result.h"
#include "resources/document.h"
#include "resources/kinds.h"

namespace CLI {
class App;
}

namespace ocicat::cli {

struct FileOptions {
  std::vector<std::string> paths;  // files, folders, or "-" for standard input
  bool recursive = false;
  std::string
      ns;  // of documents that name none; a document that names another one is refused. Empty: "default"
};

// -f and -R.
void add_file_options(CLI::App& command, FileOptions& options, bool required);

// One checked object.
struct Input {
  ResourceKey key;
  boost::json::object json;  // defaults filled in
  std::string file;
  int line = 0;
  std::size_t position = 0;  // among all, as written
};

struct Inputs {
  std::vector<Input> objects;         // in the order in which they may refer to each other
  std::vector<Complaint> complaints;  // with any of these, nothing may be sent
  std::vector<Complaint> warnings;    // about what is accepted and does nothing
  std::vector<Error> errors;          // files that cannot be read

  bool ok() const { return complaints.empty() && errors.empty(); }
};

// Reads and checks everything, and keeps going after a complaint. Of a folder: *.yaml, *.yml and *.json.
Inputs read_inputs(const FileOptions& options);

// What read_inputs() did not like, a line each on stderr.
void print_complaints(const Inputs& inputs);
// What it took and does nothing with, the same way.
void print_warnings(const Inputs& inputs);

// Everything of a file, or of standard input for "-": at most kMostText of resources/document.h.
Result<std::string> read_text(const std::string& path);

// Where a kind stands when several are sent: what others refer to comes first. Deletions go the other way.
int rank_of(Kind kind);

}  // namespace ocicat::cli
