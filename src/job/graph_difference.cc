#include "job/graph_difference.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace weir {
namespace {

/// An operator and the vertex it runs in.
struct Place {
  const proto::Operator* op;
  const proto::Vertex* vertex;
};

std::vector<Place> OperatorsOf(const proto::JobGraph& graph) {
  std::vector<Place> places;
  for (const proto::Vertex& vertex : graph.vertices()) {
    for (const proto::Operator& op : vertex.operators()) places.push_back({&op, &vertex});
  }
  return places;
}

std::string Named(const Place& place) {
  return absl::StrCat("operator '", place.op->name(), "' (", place.op->kind(), ", uid '",
                      place.op->uid(), "')");
}

std::string Quoted(const std::string& text) { return absl::StrCat("'", text, "'"); }

class Difference {
 public:
  Difference(const proto::JobGraph& a, const std::string& one, const proto::JobGraph& b,
             const std::string& other)
      : a_(a), b_(b), one_(one), other_(other), of_a_(OperatorsOf(a)), of_b_(OperatorsOf(b)) {}

  std::string Find() const {
    std::string found = OfOperators();
    if (found.empty()) found = OfEdges();
    if (found.empty()) found = OfTheRest();
    return found;
  }

 private:
  std::string Both(const std::string& in_a, const std::string& in_b) const {
    return absl::StrCat(" is ", in_a, " in ", one_, " and ", in_b, " in ", other_);
  }

  /// An operator that only the larger graph has.
  static std::string Surplus(const std::vector<Place>& larger, const std::vector<Place>& smaller,
                             const std::string& where) {
    std::set<std::string> known;
    for (const Place& place : smaller) known.insert(place.op->uid());
    for (const Place& place : larger) {
      if (!known.contains(place.op->uid())) {
        return absl::StrCat(Named(place), " is only in ", where);
      }
    }
    return absl::StrCat("there are more operators in ", where);
  }

  std::string OfOperators() const {
    if (of_a_.size() > of_b_.size()) return Surplus(of_a_, of_b_, one_);
    if (of_a_.size() < of_b_.size()) return Surplus(of_b_, of_a_, other_);
    for (size_t i = 0; i < of_a_.size(); ++i) {
      const std::string what = OfOperator(of_a_[i], of_b_[i]);
      if (what.empty()) continue;
      return absl::StrCat(Named(of_a_[i]), ", number ", i + 1, " of the job: its ", what);
    }
    return "";
  }

  std::string OfOperator(const Place& a, const Place& b) const {
    if (a.op->kind() != b.op->kind()) {
      return absl::StrCat("kind", Both(a.op->kind(), b.op->kind()));
    }
    if (a.op->name() != b.op->name()) {
      return absl::StrCat("name", Both(Quoted(a.op->name()), Quoted(b.op->name())));
    }
    if (a.op->uid() != b.op->uid()) {
      return absl::StrCat("uid", Both(Quoted(a.op->uid()), Quoted(b.op->uid())));
    }
    if (a.vertex->parallelism() != b.vertex->parallelism()) {
      return absl::StrCat("parallelism", Both(absl::StrCat(a.vertex->parallelism()),
                                              absl::StrCat(b.vertex->parallelism())));
    }
    if (a.vertex->slot_sharing_group() != b.vertex->slot_sharing_group()) {
      return absl::StrCat("slot sharing group", Both(Quoted(a.vertex->slot_sharing_group()),
                                                     Quoted(b.vertex->slot_sharing_group())));
    }
    if (a.vertex->id() != b.vertex->id()) {
      return absl::StrCat("chain", Both(Quoted(a.vertex->name()), Quoted(b.vertex->name())));
    }
    return "";
  }

  static std::string Input(const proto::JobGraph& graph, const std::vector<Place>& operators,
                           const proto::Edge& edge) {
    std::string partitioning = proto::Partitioning_Name(edge.partitioning());
    return absl::StrCat(
        absl::StripPrefix(partitioning, "PARTITIONING_"), " from ",
        edge.source_operator() < operators.size()
            ? Named(operators[edge.source_operator()])
            : graph.vertices(static_cast<int>(edge.source_vertex())).name(),
        edge.side_output().empty() ? "" : absl::StrCat(", side output '", edge.side_output(), "'"));
  }

  std::string OfEdges() const {
    const int both = std::min(a_.edges_size(), b_.edges_size());
    for (int i = 0; i < both; ++i) {
      const proto::Edge& a = a_.edges(i);
      const proto::Edge& b = b_.edges(i);
      if (google::protobuf::util::MessageDifferencer::Equals(a, b)) continue;
      return absl::StrCat("input ", a.target_input() + 1, " of '",
                          a_.vertices(static_cast<int>(a.target_vertex())).name(), "'",
                          Both(Input(a_, of_a_, a), Input(b_, of_b_, b)));
    }
    if (a_.edges_size() == b_.edges_size()) return "";
    return absl::StrCat("the number of edges",
                        Both(absl::StrCat(a_.edges_size()), absl::StrCat(b_.edges_size())));
  }

  /// Settings, the job's name: fields as the contract calls them, "modified: job_name: ...".
  std::string OfTheRest() const {
    google::protobuf::util::MessageDifferencer differencer;
    differencer.IgnoreField(a_.GetDescriptor()->FindFieldByName("graph_hash"));
    std::string report;
    differencer.ReportDifferencesToString(&report);
    if (differencer.Compare(a_, b_)) {
      if (a_.graph_hash() == b_.graph_hash()) return "";
      return absl::StrCat("the type of the rows on some edge differs between ", one_, " and ",
                          other_);
    }
    return absl::StrCat("from ", one_, " to ", other_, ": ", report.substr(0, report.find('\n')));
  }

  const proto::JobGraph& a_;
  const proto::JobGraph& b_;
  const std::string& one_;
  const std::string& other_;
  const std::vector<Place> of_a_;
  const std::vector<Place> of_b_;
};

}  // namespace

std::string GraphDifference(const proto::JobGraph& a, const std::string& one,
                            const proto::JobGraph& b, const std::string& other) {
  return Difference(a, one, b, other).Find();
}

}  // namespace weir
