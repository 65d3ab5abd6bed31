//! The two forms of an answer, each made of the other: for an upstream that does not keep to the form it was asked for.

use std::borrow::Cow;

use super::{Translation, WayBack, Writer};
use crate::domain::time::Timestamp;
use crate::protocol::canonical::{
    Answer, AnswerError, Block, Call, Delta, Fragment, Opening, Piece, Proof, Reasoning, StopReason, Usage,
};
use crate::protocol::sse::Decoder;
use crate::protocol::translate::cut::Cutter;
use crate::protocol::translate::home::Home;

impl Translation {
    /// Translates a stream that has come to its end into one JSON body; the inner error is the data of the event with
    /// which the upstream reports one.
    pub fn answer_of_stream(
        self,
        events: &[u8],
        created: Timestamp,
        way_back: &WayBack,
    ) -> Result<Result<Vec<u8>, Vec<u8>>, AnswerError> {
        let mut reader = self.reader();
        let mut home = Home::new(way_back.clone());
        let mut cutter = Cutter::new(way_back.stops.clone());
        let mut gathered = Gathered::default();
        let mut decoder = Decoder::default();
        let mut on_event = |event: crate::protocol::sse::Event<'_>| {
            reader.read(event, &mut |delta| {
                home.pass(delta, &mut |delta| cutter.pass(delta, &mut |delta| gathered.take(delta)));
            })
        };
        decoder.feed(events, &mut on_event)?;
        decoder.finish(&mut on_event)?;
        if let Some(data) = gathered.error {
            return Ok(Err(data));
        }
        let cut = || AnswerError::Malformed("the stream ends before its end".into());
        gathered.answer().map(|answer| Ok(self.write_answer(&answer, created, way_back))).ok_or_else(cut)
    }

    /// Translates an answer that came as one JSON body into a whole stream.
    pub fn stream_of_answer(self, body: &[u8], created: Timestamp, way_back: &WayBack) -> Result<Vec<u8>, AnswerError> {
        let mut answer = self.read_answer(body)?;
        way_back.bring(&mut answer);
        let mut writer = self.writer(created, way_back);
        let mut out = Vec::with_capacity(body.len() * 2);
        tell(&answer, &mut writer, &mut out);
        Ok(out)
    }
}

/// Tells an answer as a stream.
fn tell(answer: &Answer<'_>, writer: &mut Writer, out: &mut Vec<u8>) {
    writer.write(&Delta::Started { id: (&*answer.id).into(), model: (&*answer.model).into() }, out);
    for (number, block) in (0..).zip(&answer.blocks) {
        block_told(number, block, &mut |delta| writer.write(delta, out));
    }
    writer.write(
        &Delta::Ended {
            stop: answer.stop,
            stop_text: answer.stop_text.as_deref().map(Cow::Borrowed),
            usage: answer.usage,
        },
        out,
    );
}

fn block_told(block: u32, whole: &Block<'_>, on_delta: &mut impl FnMut(&Delta<'_>)) {
    let (opening, piece, proof) = match whole {
        Block::Text(text) => (Opening::Text, Piece::Text(Fragment::Plain(text)), None),
        Block::Refusal(text) => (Opening::Refusal, Piece::Text(Fragment::Plain(text)), None),
        Block::Reasoning(Reasoning { text, proof }) => {
            (Opening::Reasoning, Piece::Reasoning(Fragment::Plain(text)), proof.clone())
        }
        Block::Call(Call { id, namespace, name, kind, arguments }) => {
            let namespace = namespace.as_deref().map(Cow::Borrowed);
            let opening = Opening::Call { id: (&**id).into(), namespace, name: (&**name).into(), kind: *kind };
            (opening, Piece::Arguments(Fragment::Plain(arguments)), None)
        }
        // Models answer with nothing of the kind.
        Block::Image(_) | Block::Document(_) | Block::Result(_) => return,
    };
    on_delta(&Delta::Opened { block, opening });
    let (Piece::Text(text) | Piece::Reasoning(text) | Piece::Arguments(text)) = &piece;
    if !text.is_empty() {
        on_delta(&Delta::More { block, piece });
    }
    if let Some(proof) = proof {
        on_delta(&Delta::Proved { block, proof });
    }
    on_delta(&Delta::Closed { block });
}

/// An answer, put together from its steps.
#[derive(Default)]
struct Gathered {
    id: String,
    model: String,
    blocks: Vec<(u32, Block<'static>)>,
    end: Option<(StopReason, Option<String>, Usage)>,
    error: Option<Vec<u8>>,
}

impl Gathered {
    fn take(&mut self, delta: &Delta<'_>) {
        match delta {
            Delta::Started { id, model } => {
                self.id = id.to_string();
                self.model = model.to_string();
            }
            Delta::Opened { block, opening } => self.blocks.push((*block, opened(opening))),
            Delta::More { block, piece } => {
                let (Piece::Text(more) | Piece::Reasoning(more) | Piece::Arguments(more)) = piece;
                match self.find(*block) {
                    Some(Block::Text(text) | Block::Refusal(text)) => more.append_to(text.to_mut()),
                    Some(Block::Reasoning(reasoning)) => more.append_to(reasoning.text.to_mut()),
                    Some(Block::Call(call)) => more.append_to(call.arguments.to_mut()),
                    Some(Block::Image(_) | Block::Document(_) | Block::Result(_)) | None => {}
                }
            }
            Delta::Proved { block, proof: Proof::Sealed(seal) } => {
                if let Some(Block::Reasoning(reasoning)) = self.find(*block) {
                    reasoning.proof = Some(Proof::Sealed(Cow::Owned(seal.to_string())));
                }
            }
            Delta::Ended { stop, stop_text, usage } => {
                self.end = Some((*stop, stop_text.as_deref().map(str::to_owned), *usage));
            }
            Delta::Failed(data) => self.error = Some(data.to_vec()),
            // On the way home every proof is sealed.
            Delta::Proved { .. } | Delta::Untold | Delta::Closed { .. } => {}
        }
    }

    fn find(&mut self, block: u32) -> Option<&mut Block<'static>> {
        self.blocks.iter_mut().rev().find(|(number, _)| *number == block).map(|(_, block)| block)
    }

    fn answer(self) -> Option<Answer<'static>> {
        let (stop, stop_text, usage) = self.end?;
        let blocks = self.blocks.into_iter().map(|(_, block)| block).collect();
        let stop_text = stop_text.map(Cow::Owned);
        Some(Answer { id: self.id.into(), model: self.model.into(), blocks, stop, stop_text, usage })
    }
}

fn opened(opening: &Opening<'_>) -> Block<'static> {
    let owned = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
    match opening {
        Opening::Text => Block::Text(Cow::Borrowed("")),
        Opening::Refusal => Block::Refusal(Cow::Borrowed("")),
        Opening::Reasoning => Block::Reasoning(Reasoning { text: Cow::Borrowed(""), proof: None }),
        Opening::Call { id, namespace, name, kind } => Block::Call(Call {
            id: owned(id),
            namespace: namespace.as_ref().map(owned),
            name: owned(name),
            kind: *kind,
            arguments: Cow::Borrowed(""),
        }),
    }
}
