//! The terminal itself: taken over while the table is shown, and always given back.

use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, KeyCode, KeyEventKind, KeyModifiers},
    queue,
    style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor},
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::view::{Line, Style};

/// How long the thread that reads keys may notice late that nobody listens.
const KEY_POLL: Duration = Duration::from_millis(100);
/// Keys that wait; a held key beyond that is dropped.
const KEY_QUEUE: usize = 64;

/// Whether the terminal is taken over: it is given back once, by whoever comes first.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What the user did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Sort,
    Reverse,
    Pause,
    /// The screen has another size.
    Resize,
}

/// The screen, taken over. Dropping it gives the terminal back; so does a panic.
#[derive(Debug)]
pub(crate) struct Screen {
    out: Stdout,
    has_colours: bool,
    size: (u16, u16),
    /// What stands in each line: only lines that differ are written.
    shown: Vec<Line>,
}

impl Screen {
    pub(crate) fn open(has_colours: bool) -> io::Result<Screen> {
        terminal::enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        // from here on dropping it gives back
        let mut screen = Screen { out: io::stdout(), has_colours, size: (0, 0), shown: Vec::new() };
        queue!(screen.out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        screen.resize()?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Looks how large the screen is, and draws everything anew next time.
    pub(crate) fn resize(&mut self) -> io::Result<()> {
        self.size = terminal::size()?;
        self.shown.clear();
        queue!(self.out, Clear(ClearType::All))?;
        self.out.flush()
    }

    /// Shows the lines, cut to the screen.
    pub(crate) fn draw(&mut self, lines: Vec<Line>) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (at, line) in (0..self.size.1).zip(&lines) {
            if self.shown.get(usize::from(at)) == Some(line) {
                continue;
            }
            queue!(self.out, MoveTo(0, at))?;
            let mut room = usize::from(self.size.0);
            for span in line {
                let text: String = span.text.chars().take(room).collect();
                room -= text.chars().count();
                self.span(span.style, &text)?;
            }
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.shown = lines;
        self.out.flush()
    }

    fn span(&mut self, style: Style, text: &str) -> io::Result<()> {
        if style == Style::Alarm {
            // no colour of its own: seen on every terminal
            queue!(self.out, SetAttribute(Attribute::Reverse), SetAttribute(Attribute::Bold), Print(text))?;
            return queue!(self.out, SetAttribute(Attribute::Reset));
        }
        if !self.has_colours {
            return queue!(self.out, Print(text));
        }
        match style {
            Style::Plain | Style::Alarm => return queue!(self.out, Print(text)),
            Style::Dim => queue!(self.out, SetAttribute(Attribute::Dim))?,
            Style::Bold => queue!(self.out, SetAttribute(Attribute::Bold))?,
            Style::Good => queue!(self.out, SetForegroundColor(Color::Green))?,
            Style::Bad => queue!(self.out, SetForegroundColor(Color::Red))?,
            Style::Warning => queue!(self.out, SetForegroundColor(Color::Yellow))?,
        }
        queue!(self.out, Print(text), ResetColor, SetAttribute(Attribute::Reset))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal what it was. Nothing can be done if that fails.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = queue!(out, EndSynchronizedUpdate, EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = out.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// The user's keys, read by a thread that ends soon after the receiver is dropped.
pub(crate) fn keys() -> mpsc::Receiver<Key> {
    let (keys, receiver) = mpsc::channel(KEY_QUEUE);
    thread::spawn(move || {
        while !keys.is_closed() {
            match event::poll(KEY_POLL) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let Ok(event) = event::read() else { return };
            if let Some(key) = meaning(&event) {
                // a full queue means that the key was held: dropping some is right
                let _ = keys.try_send(key);
            }
        }
    });
    receiver
}

fn meaning(event: &event::Event) -> Option<Key> {
    let key = match event {
        event::Event::Resize(..) => return Some(Key::Resize),
        event::Event::Key(key) if key.kind != KeyEventKind::Release => key,
        _ => return None,
    };
    // raw mode turns the signals of the keyboard into keys
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd' | '\\')).then_some(Key::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Char('s') | KeyCode::Right => Key::Sort,
        KeyCode::Char('r') | KeyCode::Left => Key::Reverse,
        KeyCode::Char(' ') => Key::Pause,
        _ => return None,
    })
}

/// Waits until somebody wants the program to end: Ctrl-C, SIGTERM or SIGHUP.
pub(crate) async fn interrupted() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // without a handler the signal ends the program by itself
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
